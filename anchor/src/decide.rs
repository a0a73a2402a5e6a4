//! Decides what to do, from facts alone. No I/O, no clock.

use evidence::Head;
use evidence::incident::Shown;

/// What is known of a head that was committed to the branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anchored {
    pub(crate) head: Head,
    /// When this anchor's key cosigned it, in seconds since 1970; `None` when another anchor's key did.
    pub(crate) time: Option<u64>,
}

/// What to do about the head that the log offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing is new, and the last anchor is recent.
    Wait,
    /// Prove it consistent, cosign it and commit it.
    Anchor,
}

/// A log that contradicts what it signed before. Nothing may be cosigned then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LogIncident {
    /// It has fewer entries.
    #[error("the log went backwards: it offers {offered}, but {cosigned} was cosigned")]
    Backwards { cosigned: Head, offered: Head },
    /// It has as many entries, but others.
    #[error("the log forked: it offers {offered}, but {cosigned} was cosigned")]
    Forked { cosigned: Head, offered: Head },
    /// It has more entries, and `shown` is its root at the size of the known head.
    #[error("the log forked: it signed {offered}, which does not continue {known}")]
    NotContinued { known: Head, offered: Head, shown: Box<Shown> },
}

impl LogIncident {
    /// The head that was known before.
    pub(crate) const fn known(&self) -> Head {
        match self {
            Self::Backwards { cosigned: known, .. } | Self::Forked { cosigned: known, .. } => *known,
            Self::NotContinued { known, .. } => *known,
        }
    }

    /// The proof, for an incident that needs one.
    pub(crate) fn shown(&self) -> Option<&Shown> {
        match self {
            Self::Backwards { .. } | Self::Forked { .. } => None,
            Self::NotContinued { shown, .. } => Some(shown),
        }
    }
}

/// Decides about a head whose signature was verified. `cosigned` is the largest head ever cosigned, `anchored` what the
/// branch holds; they differ only after an adoption.
pub(crate) fn about_head(
    cosigned: Option<Head>,
    anchored: Option<Anchored>,
    offered: Head,
    now: u64,
    heartbeat_s: u64,
) -> Result<Action, LogIncident> {
    if let Some(cosigned) = cosigned {
        not_below(cosigned, offered)?;
    }
    let up_to_date = anchored
        .is_some_and(|a| a.head.size == offered.size && a.time.is_some_and(|t| now < t.saturating_add(heartbeat_s)));
    // An empty log has nothing to anchor.
    Ok(if up_to_date || offered.size == 0 { Action::Wait } else { Action::Anchor })
}

/// Refuses a head that is smaller than a known one, or has its size and another root.
pub(crate) fn not_below(cosigned: Head, offered: Head) -> Result<(), LogIncident> {
    if offered.size < cosigned.size {
        return Err(LogIncident::Backwards { cosigned, offered });
    }
    if offered.size == cosigned.size && offered.root != cosigned.root {
        return Err(LogIncident::Forked { cosigned, offered });
    }
    Ok(())
}

/// How far ahead of their clock auditors let a cosignature be, in seconds (SPEC.md section 13.4).
const AHEAD_S_MAX: u64 = 300;

/// The time of the last cosignature, if it is too far ahead of the clock for auditors.
pub(crate) fn time_to_come(now: u64, last: Option<u64>) -> Option<u64> {
    last.filter(|last| last.saturating_sub(now) > AHEAD_S_MAX)
}

/// The time of the next cosignature: now, but never before the last one.
pub(crate) fn cosignature_time(now: u64, last: Option<u64>) -> u64 {
    now.max(last.unwrap_or_default())
}

/// The anchor's own branch, compared with the key's state file. Decided at the start and before each commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Branch {
    /// Neither has an anchor of this log yet.
    Fresh,
    /// The branch holds the last anchor.
    Complete,
    /// The state file has an anchor that the branch lacks: commit that anchor.
    Pending,
}

/// What the branch was found to hold, compared with the state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BranchFacts {
    /// The state file names an anchor.
    pub(crate) recorded: bool,
    /// The branch holds an anchor of this log.
    pub(crate) present: bool,
    /// The branch holds exactly the anchor of the state file.
    pub(crate) same: bool,
    /// The branch holds exactly what it held when the state file was written, and descends from it.
    pub(crate) unchanged: bool,
}

/// Why the branch cannot be continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BranchRefusal {
    /// The state file is lost, or never existed.
    #[error("the repository holds anchors of this log, but the key has no record of them: its state file was lost")]
    StateLost,
    /// The repository was lost or emptied, or is an older or another copy.
    #[error("the repository does not hold the last anchor that this key made: it was lost, rolled back or changed")]
    RepositoryLost,
}

/// Decides whether the branch may be continued.
pub(crate) fn about_branch(facts: BranchFacts) -> Result<Branch, BranchRefusal> {
    match facts {
        BranchFacts { recorded: false, present: false, .. } => Ok(Branch::Fresh),
        BranchFacts { recorded: false, present: true, .. } => Err(BranchRefusal::StateLost),
        BranchFacts { same: true, .. } => Ok(Branch::Complete),
        BranchFacts { unchanged: true, .. } => Ok(Branch::Pending),
        _ => Err(BranchRefusal::RepositoryLost),
    }
}

/// What to do about a remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Push {
    /// It has everything.
    UpToDate,
    /// Push: a fast-forward, or the first push.
    FastForward,
}

/// What was found at a remote, compared with the own branch and with what was last seen there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RemoteFacts {
    /// Something of this branch was seen there before.
    pub(crate) seen: bool,
    /// The branch exists.
    pub(crate) present: bool,
    /// It is the own branch's newest commit.
    pub(crate) same: bool,
    /// It is a commit of the own branch.
    pub(crate) ours: bool,
    /// It is, or comes after, what was last seen there.
    pub(crate) not_behind_seen: bool,
    /// It comes after the own branch's newest commit.
    pub(crate) ahead: bool,
}

/// A remote whose branch is not a part of ours. Nothing is pushed then, and nothing is ever forced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemoteIncident {
    /// The branch existed and was deleted.
    Deleted,
    /// The branch went back to an older commit.
    Rewound,
    /// The branch has commits after ours that this anchor did not make.
    Ahead,
    /// The branch has another history.
    Rewritten,
}

impl RemoteIncident {
    /// What happened, for a log line that continues with the commits.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Deleted => "the branch was deleted",
            Self::Rewound => "the branch was rewound",
            Self::Ahead => "the branch has commits that this anchor did not make",
            Self::Rewritten => "the branch has another history than ours",
        }
    }
}

/// Decides whether to push to a remote.
pub(crate) fn about_remote(facts: RemoteFacts) -> Result<Push, RemoteIncident> {
    match facts {
        RemoteFacts { present: false, seen: false, .. } => Ok(Push::FastForward),
        RemoteFacts { present: false, seen: true, .. } => Err(RemoteIncident::Deleted),
        RemoteFacts { ours: true, seen: true, not_behind_seen: false, .. } => Err(RemoteIncident::Rewound),
        RemoteFacts { same: true, .. } => Ok(Push::UpToDate),
        RemoteFacts { ours: true, .. } => Ok(Push::FastForward),
        RemoteFacts { ahead: true, .. } => Err(RemoteIncident::Ahead),
        _ => Err(RemoteIncident::Rewritten),
    }
}

#[cfg(test)]
mod tests {
    use evidence::sha256;

    use super::*;

    fn head(size: u64) -> Head {
        Head { size, root: sha256(&size.to_be_bytes()) }
    }

    fn fork(size: u64) -> Head {
        Head { size, root: sha256(b"fork") }
    }

    fn anchored(size: u64, time: u64) -> Option<Anchored> {
        Some(Anchored { head: head(size), time: Some(time) })
    }

    #[test]
    fn head_is_anchored_when_new_or_due() {
        assert_eq!(about_head(None, None, head(0), 100, 60), Ok(Action::Wait));
        assert_eq!(about_head(None, None, head(1), 100, 60), Ok(Action::Anchor));
        assert_eq!(about_head(Some(head(5)), anchored(5, 100), head(6), 101, 60), Ok(Action::Anchor));
        assert_eq!(about_head(Some(head(5)), anchored(5, 100), head(5), 159, 60), Ok(Action::Wait));
        assert_eq!(about_head(Some(head(5)), anchored(5, 100), head(5), 160, 60), Ok(Action::Anchor));
        // The clock went back: no heartbeat until it is due by the clock again.
        assert_eq!(about_head(Some(head(5)), anchored(5, 100), head(5), 10, 60), Ok(Action::Wait));
        // After an adoption of an older branch the branch has to catch up.
        assert_eq!(about_head(Some(head(5)), anchored(3, 100), head(5), 101, 60), Ok(Action::Anchor));
        assert_eq!(about_head(Some(head(5)), None, head(5), 101, 60), Ok(Action::Anchor));
        // After a change of the anchor key, the new key cosigns at once.
        let by_another = Some(Anchored { head: head(5), time: None });
        assert_eq!(about_head(Some(head(5)), by_another, head(5), 101, 60), Ok(Action::Anchor));
    }

    #[test]
    fn contradicting_head_is_refused() {
        for branch in [None, anchored(3, 100), anchored(5, 100)] {
            let cosigned = head(5);
            for size in [0, 3, 4] {
                let offered = head(size);
                let wanted = Err(LogIncident::Backwards { cosigned, offered });
                assert_eq!(about_head(Some(cosigned), branch, offered, 1000, 60), wanted);
            }
            let wanted = Err(LogIncident::Forked { cosigned, offered: fork(5) });
            assert_eq!(about_head(Some(cosigned), branch, fork(5), 1000, 60), wanted);
        }
    }

    #[test]
    fn cosignature_times_never_decrease() {
        assert_eq!(cosignature_time(100, None), 100);
        assert_eq!(cosignature_time(100, Some(90)), 100);
        assert_eq!(cosignature_time(100, Some(3700)), 3700);
    }

    #[test]
    fn only_times_too_far_ahead_are_reported() {
        for last in [None, Some(0), Some(1000), Some(1300)] {
            assert_eq!(time_to_come(1000, last), None, "{last:?}");
        }
        assert_eq!(time_to_come(1000, Some(1301)), Some(1301));
        assert_eq!(time_to_come(0, Some(u64::MAX)), Some(u64::MAX));
    }

    #[test]
    fn branch_continues_only_where_the_key_left_it() {
        let facts = |recorded, present, same, unchanged| BranchFacts { recorded, present, same, unchanged };
        assert_eq!(about_branch(facts(false, false, false, false)), Ok(Branch::Fresh));
        assert_eq!(about_branch(facts(false, true, false, false)), Err(BranchRefusal::StateLost));
        assert_eq!(about_branch(facts(true, true, true, false)), Ok(Branch::Complete));
        assert_eq!(about_branch(facts(true, true, true, true)), Ok(Branch::Complete));
        assert_eq!(about_branch(facts(true, true, false, true)), Ok(Branch::Pending));
        assert_eq!(about_branch(facts(true, false, false, true)), Ok(Branch::Pending));
        assert_eq!(about_branch(facts(true, false, false, false)), Err(BranchRefusal::RepositoryLost));
        assert_eq!(about_branch(facts(true, true, false, false)), Err(BranchRefusal::RepositoryLost));
    }

    #[test]
    fn remotes_are_only_fast_forwarded() {
        let absent =
            RemoteFacts { seen: false, present: false, same: false, ours: false, not_behind_seen: false, ahead: false };
        let older = RemoteFacts { present: true, ours: true, ..absent };
        let seen_older = RemoteFacts { seen: true, not_behind_seen: true, ..older };
        assert_eq!(about_remote(absent), Ok(Push::FastForward));
        assert_eq!(about_remote(older), Ok(Push::FastForward));
        assert_eq!(about_remote(seen_older), Ok(Push::FastForward));
        assert_eq!(about_remote(RemoteFacts { same: true, ..older }), Ok(Push::UpToDate));
        assert_eq!(about_remote(RemoteFacts { same: true, ..seen_older }), Ok(Push::UpToDate));

        assert_eq!(about_remote(RemoteFacts { seen: true, ..absent }), Err(RemoteIncident::Deleted));
        assert_eq!(about_remote(RemoteFacts { seen: true, ..older }), Err(RemoteIncident::Rewound));
        for seen in [false, true] {
            let foreign = RemoteFacts { seen, present: true, ..absent };
            assert_eq!(about_remote(foreign), Err(RemoteIncident::Rewritten));
            // Even when it comes after what was last seen, it is not what this anchor made.
            assert_eq!(about_remote(RemoteFacts { not_behind_seen: seen, ..foreign }), Err(RemoteIncident::Rewritten));
            assert_eq!(
                about_remote(RemoteFacts { ahead: true, not_behind_seen: seen, ..foreign }),
                Err(RemoteIncident::Ahead)
            );
        }
    }
}
