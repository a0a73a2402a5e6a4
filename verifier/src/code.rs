//! The codes of findings: verdict, meaning, and what an auditor does about each.
//!
//! SPEC.md (section 13.1) and docs/auditing.md hold tables of them. A test compares the tables with this file.

use std::fmt;

use evidence::chain::RefusalKind;

use crate::verdict::Verdict;

/// Defines [`Code`] from one list: variant, code, verdicts, meaning, advice.
macro_rules! codes {
    ($($variant:ident $code:literal [$($verdict:ident),+] $meaning:literal => $advice:literal)+) => {
        /// The machine-readable reason of a finding (SPEC.md, "Verdicts").
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)+
            /// an entry breaks a rule of the chain; the code is the refusal's
            Refused(RefusalKind),
        }

        impl Code {
            /// All codes but those of refusals, by verdict.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as it is written in reports.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)+
                    Self::Refused(kind) => kind.code(),
                }
            }

            /// The verdicts that a finding with this code may have; the usual one comes first.
            pub fn verdicts(self) -> &'static [Verdict] {
                match self {
                    $(Self::$variant => &[$(Verdict::$verdict),+],)+
                    Self::Refused(_) => &[Verdict::Tampered],
                }
            }

            /// What the code means.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)+
                    Self::Refused(kind) => kind.meaning(),
                }
            }

            /// What the auditor does about it.
            pub fn advice(self) -> &'static str {
                match self {
                    $(Self::$variant => $advice,)+
                    Self::Refused(_) => "get the evidence again; if it stays, the log accepted an invalid entry",
                }
            }
        }
    };
}

impl Code {
    /// The verdict that a finding with this code usually has.
    pub fn verdict(self) -> Verdict {
        self.verdicts()[0]
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

codes! {
    Usage "usage" [Usage]
        "the question makes no sense"
        => "correct the command"

    Unreadable "unreadable" [Unusable]
        "the verifier cannot read a file of the bundle, or the trust file"
        => "check the path and its permissions; get the file again"
    UnreadableClone "unreadable-clone" [Unusable]
        "Git objects cannot be read, or the log's folder holds something else"
        => "run `git fsck` in the clone; fetch a fresh clone beside it"
    UnreadablePin "unreadable-pin" [Unusable]
        "the pin file is damaged, or of another version"
        => "restore it from a backup; a new pin file forgets what you saw"
    UnwritablePin "unwritable-pin" [Unusable]
        "the verifier cannot write the pin file"
        => "check the folder's permissions and free space; verify again"
    Malformed "malformed" [Unusable]
        "a file is not in its format"
        => "get the file again"
    Unsupported "unsupported" [Unusable]
        "a file or entry is of a version that this verifier does not know"
        => "install a newer verifier"
    OtherLedger "other-ledger" [Unusable]
        "bundle, proof or pin file is of another ledger than the trust file"
        => "take the files of one ledger"

    WrongGenesis "wrong-genesis" [Tampered]
        "the bundle names another genesis than the trust file"
        => "compare the genesis hash with the operator over another channel"
    OtherLog "other-log" [Tampered]
        "a checkpoint is of another log"
        => "check that bundle and clone are of the ledger in the trust file"
    NotByLog "not-by-log" [Tampered]
        "no log key of the trust file signed the checkpoint"
        => "ask whether the log key was rotated, and for a new trust file"
    BadSignature "bad-signature" [Tampered]
        "a signature line on a checkpoint is invalid"
        => "get the bundle or clone again"
    AlteredEntry "altered-entry" [Tampered]
        "an entry is not the one in the log's tree"
        => "get a new export; compare the entry with the log's tiles"
    MalformedEntry "malformed-entry" [Tampered]
        "an entry in the tree does not decode"
        => "ask the operator how the log accepted it"
    AlteredHeads "altered-heads" [Tampered]
        "the heads lines do not match the newest heads statement"
        => "get a new export"
    HeadsContradict "heads-contradict" [Tampered]
        "a stream's statements contradict the heads statement"
        => "ask the operator; the ledger signed both"
    AlteredEvent "altered-event" [Tampered]
        "an event is not what was sealed"
        => "compare the event with a copy from another place"
    AddedEvent "added-event" [Tampered]
        "an event where none was sealed, or a second one"
        => "find out who added it, in Kafka or in the bundle"
    ReorderedEvent "reordered-event" [Tampered]
        "an event comes after one with a higher offset"
        => "get a new export; Kafka returns events in order"
    AlteredLeafIndex "altered-leaf-index" [Tampered]
        "the leaf index was changed; the events are what was sealed"
        => "get a new export; the events themselves are proven"
    AlteredBatch "altered-batch" [Tampered]
        "the events of a batch do not lead to the sealed root"
        => "get a copy of the batch from another place"
    FalseSummary "false-summary" [Tampered]
        "a signed summary states wrong times, a wrong size or a wrong last event"
        => "ask the operator which version of the sealing software signed it"
    AlteredAnchor "altered-anchor" [Tampered]
        "the two files of an anchor hold different checkpoints"
        => "fetch a clone from another remote and compare the commit"
    InconsistentAnchors "inconsistent-anchors" [Tampered]
        "an anchor does not extend the one before it"
        => "keep the clone as proof; compare with the clones of others"
    TimeBackwards "time-backwards" [Tampered]
        "a witness of the ledger cosigned an anchor earlier than the one before it"
        => "ask the operator about the anchor's clock"
    RewrittenHistory "rewritten-history" [Tampered]
        "the branch was rewritten, merged, or lost anchors that it had"
        => "keep the clone as proof; compare with the clones of others"
    Fork "fork" [Tampered]
        "two heads of one size have different roots: two histories"
        => "keep both as proof; tell the other auditors"
    Rollback "rollback" [Tampered]
        "a larger head was seen before than all that is here"
        => "fetch again; ask for the history after the pinned head"

    Uncovered "uncovered" [Incomplete]
        "no statement, or no event data, for expected offsets"
        => "ask for a bundle with these offsets, or expect less"
    NoSuchStream "no-such-stream" [Incomplete]
        "nothing was sealed under this name"
        => "check the name; the topic may never have been sealed"
    NoHeads "no-heads" [Incomplete]
        "without a heads statement it is unknown which streams there are"
        => "ask for a full bundle, or name stream, epoch and offsets"
    NothingExpected "nothing-expected" [Incomplete]
        "no expected offset lies in any stream"
        => "check `--stream`"
    AbsentEntry "absent-entry" [Incomplete]
        "a chain entry that is needed is not in the bundle"
        => "ask for a new export"
    AbsentEvent "absent-event" [Incomplete, Tampered]
        "a sealed event is absent: deleted (retention, compaction, erasure) or left out"
        => "ask for a copy from another place"
    AbsentEvents "absent-events" [Incomplete]
        "sealed events are absent, and without a leaf index none of the batch can be verified"
        => "ask for a copy from another place"
    MoreEvents "more-events" [Incomplete, Tampered]
        "further events of a batch have problems, after the first 1,000 of a kind"
        => "treat them like the findings before"
    Gap "gap" [Incomplete]
        "a signed gap: these offsets were never sealed"
        => "ask why; accept it with `--accept-gap REASON`"
    DistrustedKey "distrusted-key" [Incomplete]
        "only a key that was revoked as distrusted signed this"
        => "ask why, and what else shows these events"
    IncompleteClone "incomplete-clone" [Incomplete]
        "the clone lacks objects: it is shallow or partial"
        => "fetch a full clone"

    NotAnchored "not-anchored" [NotAnchored]
        "no anchor covers this, or the quorum did not cosign it"
        => "fetch the clone, or ask for an export of an anchored checkpoint"
    NoBranch "no-branch" [NotAnchored]
        "the clone has no branch of anchors"
        => "clone with `--branch anchors`, or name it with `--branch`"
    NoAnchor "no-anchor" [NotAnchored]
        "the branch has no anchor of this log"
        => "check origin and remote"
    Stale "stale" [NotAnchored]
        "the newest anchor or heads statement is too old, or in the future"
        => "fetch; check your clock; ask whether the ledger still runs"
}
