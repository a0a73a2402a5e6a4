/// Where work that takes milliseconds and never waits is done: hashing, signatures, a synced file.
#[derive(Debug, Clone, Copy)]
pub enum Compute {
    /// On threads of the runtime that are there for it, so that no task is held up.
    Threads,
    /// At once, where it is asked for: a simulation has one thread, and what it does must repeat.
    Here,
}

impl Compute {
    /// Does it.
    ///
    /// # Panics
    /// When the work does.
    pub(crate) async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Self::Threads => tokio::task::spawn_blocking(work).await.expect("the work does not panic"),
            Self::Here => work(),
        }
    }
}
