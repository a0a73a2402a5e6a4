//! `committer adopt`: a database taken for all that was ever signed, where the memory of that was lost.

use anyhow::{Context, ensure};
use evidence::Head;

use crate::config::{Config, Ledger};
use crate::parts::LogKey;
use crate::run::open_log_key;
use crate::{fsck, store};

/// Writes the high-water file beside the log key as if everything in the database had been signed: the operator's answer
/// when the signer ends because that file is not there. Returns what it remembers now. `progress` is that of [`fsck`].
///
/// Only the operator can know that the database is not an old copy; all else is checked as [`fsck`] does.
///
/// # Errors
/// When there is no log key or its high-water file is there, and when the database is not sound; nothing is written then.
pub async fn adopt(config: &Config, ledger: &Ledger, progress: impl FnMut(u64, u64) + Send) -> anyhow::Result<Head> {
    let path = config.log_key.as_deref().context("there is no `committer.log_key`, so there is nothing to remember")?;
    let LogKey { mut high_water, .. } = open_log_key(path, ledger)?;
    if let Some(head) = high_water.head() {
        let path = high_water.path().display();
        anyhow::bail!("{path} is there and says {head}: the committer goes on from it, there is nothing to adopt");
    }
    let store = store::open_existing(&config.database.0, ledger.id()).await?;
    let report = fsck(&*store, ledger.id(), progress).await;
    let closed = store.close().await;
    let report = report?;
    closed?;
    ensure!(report.is_sound(), "the database is not sound, so it is not adopted: {report}");
    high_water.advance(report.valid)?;
    Ok(report.valid)
}
