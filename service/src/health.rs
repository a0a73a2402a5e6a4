use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// Which components of a service are ready for work, and why the others are not. Clones share one state.
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
    /// Ready, since there are no components yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a component, which is not ready yet. It replaces a component of the same name.
    pub fn component(&self, name: impl Into<String>) -> Component {
        let component = Component { health: self.clone(), name: name.into() };
        component.not_ready("starting");
        component
    }

    /// The components that are not ready, by name, each with its reason.
    pub fn not_ready(&self) -> Vec<(String, String)> {
        self.list(|state| if let State::NotReady(reason) = state { Some(reason) } else { None })
    }

    /// The components that are ready but lack something, by name, each with what it lacks.
    pub fn ready_without(&self) -> Vec<(String, String)> {
        self.list(|state| if let State::ReadyWithout(what) = state { Some(what) } else { None })
    }

    /// A reference that does not keep the components alive.
    pub(crate) fn downgrade(&self) -> WeakHealth {
        WeakHealth(Arc::downgrade(&self.states))
    }

    fn list(&self, text: impl Fn(&State) -> Option<&String>) -> Vec<(String, String)> {
        self.lock().iter().filter_map(|(name, state)| Some((name.clone(), text(state)?.clone()))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        // An update is one insertion or removal, so a panic elsewhere leaves no half of it.
        self.states.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A [`Health`] whose service may have ended.
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

/// A component whose readiness is reported. Dropping this value does not end that; [`Component::remove`] does.
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

    /// Reports the component as ready although it lacks something. /readyz shows what.
    pub fn ready_without(&self, what: impl Into<String>) {
        self.set(State::ReadyWithout(what.into()));
    }

    /// Reports the component as not ready. /readyz shows the reason.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(State::NotReady(reason.into()));
    }

    fn set(&self, state: State) {
        self.health.lock().insert(self.name.clone(), state);
    }

    /// Stops reporting the component, such as a partition that was given away.
    pub fn remove(self) {
        self.health.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn component_counts_until_removed() {
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
