use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Which parts of a service are ready for work, and why the others are not. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Health {
    reasons: Arc<Mutex<BTreeMap<String, Option<String>>>>,
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
        let reasons = self.lock();
        reasons.iter().filter_map(|(name, reason)| Some((name.clone(), reason.clone()?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        // Each update is one insertion or removal, so a panic elsewhere cannot have left it half done.
        self.reasons.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
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
        self.health.lock().insert(self.name.clone(), None);
    }

    /// Reports the component as not ready; the reason is shown to whoever asks /readyz.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.health.lock().insert(self.name.clone(), Some(reason.into()));
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
        kafka.remove();
        assert_eq!(health.not_ready(), []);
    }
}
