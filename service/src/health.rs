use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// Which parts of a service are ready for work, and why the others are not. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Health {
    states: Arc<Mutex<BTreeMap<String, State>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Ready,
    ReadyWithout(String),
    NotReady(String),
}

impl Health {
    /// Without components, so ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a component, which is not ready yet. A component of the same name is replaced.
    pub fn component(&self, name: impl Into<String>) -> Component {
        let component = Component { health: self.clone(), name: name.into() };
        component.not_ready("starting");
        component
    }

    /// The components that are not ready, by name, each with its reason.
    pub fn not_ready(&self) -> Vec<(String, String)> {
        self.list(|state| if let State::NotReady(reason) = state { Some(reason) } else { None })
    }

    /// The components that are ready and do without something, by name, each with what that is.
    pub fn ready_without(&self) -> Vec<(String, String)> {
        self.list(|state| if let State::ReadyWithout(what) = state { Some(what) } else { None })
    }

    /// For those who look at the components only as long as somebody else holds them.
    pub(crate) fn downgrade(&self) -> WeakHealth {
        WeakHealth(Arc::downgrade(&self.states))
    }

    fn list(&self, text: impl Fn(&State) -> Option<&String>) -> Vec<(String, String)> {
        self.lock().iter().filter_map(|(name, state)| Some((name.clone(), text(state)?.clone()))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        // Each update is one insertion or removal, so a panic elsewhere cannot have left it half done.
        self.states.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A [`Health`] that may be gone.
#[derive(Debug)]
pub(crate) struct WeakHealth(Weak<Mutex<BTreeMap<String, State>>>);

impl WeakHealth {
    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// The names of the components, each with whether it is ready.
    pub(crate) fn components(&self) -> Vec<(String, bool)> {
        let Some(states) = self.0.upgrade() else { return Vec::new() };
        let is_ready = |state: &State| !matches!(state, State::NotReady(_));
        Health { states }.lock().iter().map(|(name, state)| (name.clone(), is_ready(state))).collect()
    }
}

/// One part of a service whose readiness is reported. It goes on being reported when this value is dropped.
#[derive(Debug, Clone)]
pub struct Component {
    health: Health,
    name: String,
}

impl Component {
    /// Reports the component as ready.
    pub fn ready(&self) {
        self.set(State::Ready);
    }

    /// Reports the component as ready, although something is missing that others provide; what that is is shown to whoever
    /// asks /readyz.
    pub fn ready_without(&self, what: impl Into<String>) {
        self.set(State::ReadyWithout(what.into()));
    }

    /// Reports the component as not ready; the reason is shown to whoever asks /readyz.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(State::NotReady(reason.into()));
    }

    fn set(&self, state: State) {
        self.health.lock().insert(self.name.clone(), state);
    }

    /// Stops reporting the component: it does not belong to this service any more, such as a partition given away.
    pub fn remove(self) {
        self.health.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_component_counts_until_it_is_removed() {
        let health = Health::new();
        assert_eq!(health.not_ready(), []);
        let database = health.component("database");
        let kafka = health.clone().component("kafka");
        let not_ready = |name: &str, reason: &str| (name.to_owned(), reason.to_owned());
        assert_eq!(health.not_ready(), [not_ready("database", "starting"), not_ready("kafka", "starting")]);
        database.ready();
        kafka.not_ready("no broker at 127.0.0.1:9092");
        assert_eq!(health.not_ready(), [not_ready("kafka", "no broker at 127.0.0.1:9092")]);
        kafka.ready_without("broker 2");
        assert_eq!(health.not_ready(), []);
        assert_eq!(health.ready_without(), [not_ready("kafka", "broker 2")]);
        kafka.remove();
        assert_eq!(health.ready_without(), []);
        assert_eq!(health.not_ready(), []);
    }
}
