//! `committer adopt`: restores a lost high-water file from the database.

use anyhow::{Context, ensure};
use evidence::Head;

use crate::config::{Config, Ledger};
use crate::log_key::LogKey;
use crate::{fsck, store};

/// Writes the high-water file beside the log key as if everything in the database had been signed. The operator runs it
/// when the signer ends because that file is missing. Returns the head written. `progress` is that of [`fsck`].
///
/// Only the operator can know that the database is no old copy. Everything else is checked as [`fsck`] does.
///
/// # Errors
/// If there is no log key, its high-water file exists, or the database is not sound. Nothing is written then.
pub async fn adopt(config: &Config, ledger: &Ledger, progress: impl FnMut(u64, u64) + Send) -> anyhow::Result<Head> {
    let path = config.log_key.as_deref().context("there is no `committer.log_key`, so there is nothing to remember")?;
    let log_key = LogKey::read(path, ledger)?;
    if let Some(head) = log_key.signed() {
        let path = log_key.high_water_path();
        let path = path.display();
        anyhow::bail!("{path} exists and says {head}: the committer continues from it, so there is nothing to adopt");
    }
    let store = store::open_existing(&config.database.0, ledger.id()).await?;
    let report = fsck(&*store, ledger.id(), progress).await;
    let closed = store.close().await;
    let report = report?;
    closed?;
    ensure!(report.is_sound(), "the database is not sound, so it is not adopted: {report}");
    log_key.advance(report.valid)?;
    Ok(report.valid)
}
