use anyhow::Context;

/// Makes a blocking call on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(call).await.context("a blocking call panicked")?
}
