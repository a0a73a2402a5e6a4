use std::time::Duration;

use anyhow::Context;
use evidence::statement::LedgerId;
use service::{Health, Shutdown, admin};
use tokio::net::TcpListener;

use crate::config::Config;
use crate::maker::Maker;

/// How long pushes may still take after shutdown.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs the anchor of a ledger until `shutdown`; `listener` takes requests for health and metrics.
///
/// # Errors
/// When the configuration is invalid, or the state file cannot be written. Also when the own repository does not hold
/// the key's last anchor (see [`adopt`](crate::adopt)). Nothing may be cosigned then.
pub async fn run(config: Config, ledger: LedgerId, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
    config.check()?;
    service::metrics::install(crate::metrics::METRICS)?;
    let health = Health::new();
    // Not ready before the first look at the log.
    health.component("log");
    let listen = listener.local_addr().context("`anchor.listen`")?;
    // The tasks end with this function, however it returns.
    let shutdown = shutdown.child_token();
    let _end_tasks = shutdown.clone().drop_guard();
    let mut admin = tokio::spawn(admin::serve(listener, admin::router(health.clone()), shutdown.clone()));

    let mut maker = Maker::new(config, ledger, &health).await?;
    maker.announce(listen)?;
    maker.recover(&shutdown).await?;
    let mut pushing = maker.start_pushing(&health, &shutdown);
    tokio::select! {
        watched = maker.watch(&shutdown) => watched?,
        served = &mut admin => served.context("the health listener panicked")??,
        Some(pushed) = pushing.join_next() => pushed.context("a push panicked")??,
    }
    shutdown.cancel();
    let drained = async {
        while let Some(pushed) = pushing.join_next().await {
            pushed.context("a push panicked")??;
        }
        Ok(())
    };
    // Commits that are not pushed in time are pushed after the next start.
    tokio::time::timeout(DRAIN, drained).await.unwrap_or(Ok(()))
}
