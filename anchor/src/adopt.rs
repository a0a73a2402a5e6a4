use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use evidence::statement::LedgerId;
use evidence::{Head, SignedCheckpoint};

use crate::anchor::head;
use crate::blocking::blocking;
use crate::config::Config;
use crate::incidents::Incidents;
use crate::log::{Log, LogError};
use crate::publisher::Publisher;
use crate::remote::Remote;

/// Where an anchor continues after its repository or state file was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The branch of the own repository, as it is.
    Repository,
    /// The branch of a remote, by the remote's name in the configuration. It must continue what the own repository
    /// holds.
    Remote(String),
}

/// Makes the branch at `source` the one that the anchor continues: the operator's answer when [`run`](crate::run)
/// refuses. No anchor may run meanwhile. Returns the head that the branch holds; `None` when it has no anchor of this
/// log.
///
/// What the key cosigned before is not forgotten: the log's present head must continue both that and the branch.
///
/// # Errors
/// When the newest anchor of the branch is not signed by the log, or the log's present head does not continue it or
/// what the key cosigned. Also when log or remote cannot be reached. Nothing is changed then.
pub async fn adopt(config: &Config, ledger: LedgerId, source: &Source) -> anyhow::Result<Option<Head>> {
    config.check()?;
    let remote = match source {
        Source::Repository => None,
        Source::Remote(name) => {
            let found = config.remotes.iter().find(|remote| remote.name() == name);
            let found = found.with_context(|| format!("no remote is named {name:?} in anchor.remotes"))?;
            Some(Arc::new(Remote::new(found, &config.key)?))
        }
    };
    let log = Log::new(&config.committer, ledger.clone()).context("anchor.committer")?;
    let (mut publisher, tip, held) = {
        let (config, remote) = (config.clone(), remote.clone());
        blocking(move || {
            let publisher = Publisher::open(&config, &ledger.origin)?;
            let tip = match &remote {
                Some(remote) => {
                    let ours = publisher.repository();
                    let tip = remote.tip(ours, &remote.seen(ours)?)?.context("the remote does not have the branch")?;
                    remote.fetch(ours, tip, usize::MAX)?;
                    ensure!(ours.is_in_history(tip, tip)?, "the remote's branch moved while it was fetched");
                    tip
                }
                None => publisher.repository().tip()?.context("the own repository does not have the branch")?,
            };
            let held = publisher.anchor_at(tip)?;
            Ok((publisher, tip, held))
        })
        .await?
    };
    if let Some(anchor) = &held {
        ensure!(
            anchor.is_by_log(&log.keys().await?),
            "the anchor in commit {tip} is signed by no log key of the ledger"
        );
    }
    let branch = held.as_ref().map(|anchor| anchor.head());
    // The known heads whose signatures are at hand.
    let signed = [&held, &publisher.last()?].into_iter().flatten().map(|anchor| anchor.signed().clone()).collect();
    let incidents = Incidents::beside(&config.key);
    let largest = prove_all(&log, branch, publisher.cosigned(), signed, incidents).await?;
    blocking(move || {
        publisher.adopt(tip, held.as_ref(), largest)?;
        if let Some(remote) = remote {
            remote.seen(publisher.repository())?.set(tip)?;
        }
        Ok(branch)
    })
    .await
}

/// Proves that the log's present head continues the branch and what was cosigned. Then these two do not contradict each
/// other either, and the larger is returned. If the proof fails, both heads are kept where `signed` has the known one.
async fn prove_all(
    log: &Log,
    branch: Option<Head>,
    cosigned: Option<Head>,
    signed: Vec<SignedCheckpoint>,
    incidents: Incidents,
) -> anyhow::Result<Option<Head>> {
    let known: Vec<Head> = branch.into_iter().chain(cosigned).collect();
    let Some(largest) = known.iter().copied().max_by_key(|head| head.size) else {
        return Ok(None);
    };
    let present = log.checkpoint().await?;
    for old in known {
        match log.compare(old, &present).await {
            Ok(()) => {}
            Err(LogError::Incident(incident)) => {
                let (ledger, known) = (log.ledger().clone(), signed.into_iter().find(|signed| head(signed) == old));
                let keep = move || Ok(incidents.keep_both(&ledger, &incident, known, present));
                bail!("INCIDENT: {}", blocking(keep).await?);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(largest))
}
