use crate::Component;
use crate::metrics::Counter;

/// Whether a component works, told to everybody: /readyz, the log and a counter. The log gets each change once: when a
/// problem begins, when it becomes another one, and when it ends.
///
/// The caller logs in a closure, so that the line has the caller's module, level and fields. The closure runs before
/// /readyz changes: a counter that it increments is never behind.
#[derive(Debug)]
pub struct Condition {
    component: Component,
    failures: Option<Counter>,
    problem: Option<String>,
}

impl Condition {
    /// Without a known problem. What the component reports does not change yet.
    pub fn new(component: Component) -> Self {
        Self { component, failures: None, problem: None }
    }

    /// Counts every failure that is reported, not only changes.
    pub fn counting(component: Component, failures: Counter) -> Self {
        Self { component, failures: Some(failures), problem: None }
    }

    /// What this reports to, for work that takes long and shows how it stands meanwhile.
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// The present problem, by which the next one is compared.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Reports the component as ready. `log` runs if there was a problem.
    pub fn works(&mut self, log: impl FnOnce()) {
        if self.problem.take().is_some() {
            log();
        }
        self.component.ready();
    }

    /// Reports the component as not ready. `log` runs with the problem if it is a new one.
    pub fn fails(&mut self, problem: impl Into<String>, log: impl FnOnce(&str)) {
        let problem = problem.into();
        self.fails_as(problem.clone(), problem, log);
    }

    /// As [`Condition::fails`], where /readyz shows `shown`: a text that changes although the problem is the same.
    pub fn fails_as(&mut self, problem: impl Into<String>, shown: impl Into<String>, log: impl FnOnce(&str)) {
        self.failed(problem.into(), log);
        self.component.not_ready(shown);
    }

    /// As [`Condition::fails_as`], but the component is ready: the service does without it.
    pub fn lacks(&mut self, problem: impl Into<String>, shown: impl Into<String>, log: impl FnOnce(&str)) {
        self.failed(problem.into(), log);
        self.component.ready_without(shown);
    }

    /// Stops reporting the component.
    pub fn remove(self) {
        self.component.remove();
    }

    fn failed(&mut self, problem: String, log: impl FnOnce(&str)) {
        if let Some(failures) = &self.failures {
            failures.increment(1);
        }
        if self.problem.as_ref() != Some(&problem) {
            log(&problem);
            self.problem = Some(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::Health;

    #[test]
    fn each_change_is_logged_once() {
        let health = Health::new();
        let log = RefCell::new(Vec::new());
        let line = |text: &str| log.borrow_mut().push(text.to_owned());
        let mut condition = Condition::new(health.component("database"));
        condition.works(|| line("again"));
        for problem in ["away", "away", "full"] {
            condition.fails(problem, line);
            assert_eq!(health.not_ready(), [("database".to_owned(), problem.to_owned())]);
            assert_eq!(condition.problem(), Some(problem));
        }
        condition.works(|| line("again"));
        condition.works(|| line("again"));
        assert_eq!((health.not_ready(), condition.problem()), (Vec::new(), None));
        assert_eq!(log.take(), ["away", "full", "again"]);
    }

    #[test]
    fn shown_text_may_change_without_a_line() {
        let health = Health::new();
        let mut lines = 0;
        let mut condition = Condition::new(health.component("clock"));
        for seconds in 1..4 {
            condition.fails_as("behind", format!("behind by {seconds} s"), |_| lines += 1);
        }
        assert_eq!(health.not_ready(), [("clock".to_owned(), "behind by 3 s".to_owned())]);
        condition.lacks("away", "ready without it", |_| lines += 1);
        assert_eq!(health.not_ready(), []);
        assert_eq!(health.ready_without(), [("clock".to_owned(), "ready without it".to_owned())]);
        assert_eq!(lines, 2);
        condition.remove();
        assert_eq!(health.ready_without(), []);
    }
}
