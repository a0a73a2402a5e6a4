use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use git2::Oid;

use crate::address::Address;
use crate::config;
use crate::decide::{Push, RemoteFacts, RemoteIncident, about_remote};
use crate::last_seen::{LastSeen, short_name};
use crate::network_remote::NetworkRemote;
use crate::path_remote::PathRemote;
use crate::publisher::Error;
use crate::repository::Repository;

/// The most that is fetched of a history that is not ours.
const FOREIGN_BYTES_MAX: usize = 64 << 20;

/// A repository that anchors are pushed to. All calls block.
#[derive(Debug)]
pub(crate) struct Remote {
    name: String,
    url: String,
    transport: Transport,
    /// The anchor's key file. The state file is beside it.
    key: PathBuf,
}

#[derive(Debug)]
enum Transport {
    Path(PathRemote),
    Network(NetworkRemote),
}

/// What [`Remote::sync`] found and did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SyncOutcome {
    /// There is nothing to push yet.
    Empty,
    /// It had our newest commit.
    UpToDate,
    /// It was pushed to and has our newest commit now.
    Pushed,
    /// It holds something else than our branch, and was left alone.
    Incident(IncidentDetails),
}

/// An incident at a remote, with the commits that show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IncidentDetails {
    pub(crate) incident: RemoteIncident,
    /// The commit at the remote.
    pub(crate) theirs: Option<Oid>,
    /// The commit that was last seen there.
    pub(crate) seen: Option<Oid>,
    /// Our newest commit.
    pub(crate) ours: Oid,
}

impl fmt::Display for IncidentDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit = |id: Option<Oid>| id.map_or_else(|| "nothing".to_owned(), |id| id.to_string());
        write!(
            f,
            "{}: it holds {}, {} was last seen there, ours is {}",
            self.incident.what(),
            commit(self.theirs),
            commit(self.seen),
            self.ours
        )
    }
}

impl Remote {
    /// `key` is the anchor's key file.
    pub(crate) fn new(config: &config::Remote, key: &Path) -> anyhow::Result<Self> {
        let transport = match Address::parse(&config.url)? {
            Address::Path(path) => Transport::Path(PathRemote::new(path)),
            address => Transport::Network(NetworkRemote::new(config.clone(), address)),
        };
        Ok(Self { name: config.name().to_owned(), url: config.url.clone(), transport, key: key.to_owned() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The commit that was last seen there.
    pub(crate) fn seen(&self, ours: &Repository) -> anyhow::Result<LastSeen> {
        LastSeen::open(&self.key, &self.url, ours.reference())
    }

    /// The commit that its branch is at now.
    pub(crate) fn tip(&self, ours: &Repository, seen: &LastSeen) -> anyhow::Result<Option<Oid>> {
        match &self.transport {
            Transport::Path(remote) => remote.tip(ours, seen.commit().is_some()),
            Transport::Network(remote) => remote.tip(ours),
        }
    }

    /// Fetches its branch, which is at `tip`, into our repository under a name of its own. At most `bytes_max` come over
    /// the network.
    pub(crate) fn fetch(&self, ours: &Repository, tip: Oid, bytes_max: usize) -> anyhow::Result<()> {
        let reference = format!("refs/streamseal/fetched/{}/{tip}", short_name(&self.url));
        match &self.transport {
            Transport::Path(remote) => remote.fetch(ours, &reference),
            Transport::Network(remote) => remote.fetch(ours, &reference, bytes_max),
        }
    }

    /// Fetches a branch that is not ours, as evidence and to describe it. It may fail: no decision depends on it.
    pub(crate) fn fetch_foreign(&self, ours: &Repository, theirs: Oid) {
        if let Err(error) = self.fetch(ours, theirs, FOREIGN_BYTES_MAX) {
            tracing::warn!(remote = %self.name, "cannot fetch what the remote holds: {error:#}");
        }
    }

    /// Compares the remote with our branch, and pushes if that is a fast-forward from where we left it.
    ///
    /// # Errors
    /// [`Error::Retry`] when the remote could not be reached or refused the push; [`Error::Fatal`] when the commit last
    /// seen there cannot be stored.
    pub(crate) fn sync(&self, ours: &Repository) -> Result<SyncOutcome, Error> {
        let mut seen = self.seen(ours)?;
        let theirs = self.tip(ours, &seen)?;
        // Ours after theirs: another anchor of this repository may commit and push at any time.
        let Some(tip) = ours.tip()? else {
            return Ok(SyncOutcome::Empty);
        };
        let facts = self.facts(ours, tip, theirs, seen.commit())?;
        let outcome = match about_remote(facts) {
            Ok(Push::UpToDate) => SyncOutcome::UpToDate,
            Ok(Push::FastForward) => {
                self.push(ours, theirs)?;
                SyncOutcome::Pushed
            }
            Err(incident) => {
                return Ok(SyncOutcome::Incident(IncidentDetails { incident, theirs, seen: seen.commit(), ours: tip }));
            }
        };
        seen.set(tip).context("remember what the remote holds").map_err(Error::Fatal)?;
        Ok(outcome)
    }

    fn push(&self, ours: &Repository, theirs: Option<Oid>) -> anyhow::Result<()> {
        match &self.transport {
            Transport::Path(remote) => remote.push(ours, theirs),
            Transport::Network(remote) => remote.push(ours, theirs),
        }
    }

    fn facts(
        &self,
        ours: &Repository,
        tip: Oid,
        theirs: Option<Oid>,
        seen: Option<Oid>,
    ) -> anyhow::Result<RemoteFacts> {
        let Some(theirs) = theirs else {
            return Ok(RemoteFacts {
                seen: seen.is_some(),
                present: false,
                same: false,
                ours: false,
                not_behind_seen: false,
                ahead: false,
            });
        };
        let is_ours = ours.is_in_history(theirs, tip)?;
        if !is_ours && ours.git().find_commit(theirs).is_err() {
            self.fetch_foreign(ours, theirs);
        }
        Ok(RemoteFacts {
            seen: seen.is_some(),
            present: true,
            same: theirs == tip,
            ours: is_ours,
            not_behind_seen: seen.is_some_and(|seen| ours.is_in_history(seen, theirs).unwrap_or(false)),
            ahead: !is_ours && ours.is_in_history(tip, theirs)?,
        })
    }
}
