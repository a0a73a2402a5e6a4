use std::fmt;

use evidence::{Hash, Partition};

/// Why a stream halted. Each reason shows both sides: what was signed and what is found now.
///
/// A halted stream waits until [`Halt::remedy`] is carried out. Other streams continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// The topic was deleted and recreated since it was sealed.
    Recreated {
        /// The topic id in the newest statement.
        signed: Option<String>,
        /// The topic id that Kafka shows.
        found: Option<String>,
    },
    /// Kafka's log ends below the cursor: sealed events are missing at its end.
    Truncated {
        /// The cursor.
        next: u64,
        /// The low watermark that Kafka shows.
        low: u64,
        /// The high watermark that Kafka shows.
        high: u64,
    },
    /// Kafka returns a different event than the one that was sealed at this offset.
    Altered {
        /// The offset.
        offset: u64,
        /// The leaf that was signed.
        signed: Hash,
        /// The leaf of the event that Kafka returns.
        found: Hash,
        /// The low watermark that Kafka showed.
        low: u64,
    },
    /// Kafka returns an event at an offset that was sealed without one.
    Appeared {
        /// The offset.
        offset: u64,
        /// The leaf of the event that Kafka returns.
        found: Hash,
        /// The low watermark that Kafka showed.
        low: u64,
    },
    /// A record cannot be read as an event.
    Unreadable {
        /// The offset.
        offset: u64,
        /// The problem with it.
        problem: String,
    },
    /// The client library misreads the records from this offset on.
    Misread {
        /// The offset.
        offset: u64,
        /// How we know.
        problem: String,
    },
    /// The ledger holds no streams of the cluster that the brokers belong to.
    OtherCluster {
        /// The ids of the clusters whose streams the ledger holds, or of the cluster that was sealed until now.
        signed: Vec<String>,
        /// The id that Kafka shows.
        found: String,
    },
    /// The committer shows a cursor behind an earlier one, or another statement for the same cursor.
    CursorWentBack {
        /// The earlier cursor, as `epoch E offset N statement H`.
        before: String,
        /// The cursor now.
        now: String,
    },
    /// The committer's answer about the stream does not verify.
    BadCursor {
        /// What does not verify.
        problem: String,
    },
    /// The ledger does not let this key seal this topic.
    KeyNotGranted {
        /// Which key, and why.
        problem: String,
    },
    /// The committer refuses a statement although it agrees about the cursor.
    Refused {
        /// The machine-readable reason.
        code: String,
        /// The reason for people.
        message: String,
    },
}

impl Halt {
    /// The offset of the record that cannot be read. The halt ends when Kafka no longer has that record.
    pub(crate) fn record(&self) -> Option<u64> {
        match self {
            Self::Unreadable { offset, .. } | Self::Misread { offset, .. } => Some(*offset),
            _ => None,
        }
    }

    /// What to do about it: the exact command, if there is one.
    pub fn remedy(&self, partition: &Partition) -> String {
        let Partition { topic, number, .. } = partition;
        match self {
            Self::Recreated { .. } => new_epoch(partition, 0),
            Self::Truncated { low, .. } | Self::Altered { low, .. } | Self::Appeared { low, .. } => {
                new_epoch(partition, *low)
            }
            Self::Unreadable { offset, .. } => format!(
                "leave the record out by a signed gap: `streamseal gap --config FILE --topic {topic} --partition \
                 {number} --next {} --operator-key FILE`",
                offset + 1
            ),
            Self::Misread { offset, .. } => format!(
                "nothing is lost: sealing waits. Records in a message format before v2 must be rewritten: copy the topic into a \
                 new one with any current client, and seal that. Or wait until retention deletes the old segments: sealing \
                 then resumes by itself. To leave these records out instead, find the first batch of format v2 at or after \
                 offset {offset} (`kafka-dump-log` shows `magic: 2` and its `baseOffset`), and sign a gap that ends there: \
                 `streamseal gap --config FILE --topic {topic} --partition {number} --next BASE_OFFSET --operator-key FILE`"
            ),
            Self::OtherCluster { found, .. } => format!(
                "if the address is wrong, correct `[kafka]`; sealing resumes by itself when the old cluster answers. If this \
                 cluster is meant, set `cluster = \"{found}\"` under `[ingest]` and restart: its topics are then sealed as \
                 new streams, from their first offsets"
            ),
            Self::CursorWentBack { .. } => {
                "the committer's database lost entries that it had acknowledged: stop the committer, run `streamseal \
                 committer fsck` and restore the newest database; sealing resumes by itself when the cursor is back. If the \
                 lost entries are gone for good, restart `ingest`: it seals their offsets again"
                    .to_owned()
            }
            Self::BadCursor { .. } => {
                "check `ingest.committer` and `[ledger]`, and run `streamseal committer fsck`; sealing resumes by \
                 itself when the answer verifies"
                    .to_owned()
            }
            Self::KeyNotGranted { .. } => format!(
                "let the operator grant a key that was never granted before: `streamseal key --config FILE grant VKEY \
                 --role ingest --scope {topic} --operator-key FILE`; sealing resumes by itself if that is the key of this \
                 process, otherwise restart it with the granted key in `ingest.key`"
            ),
            Self::Refused { code, .. } => {
                format!("look up {code} in docs/auditing.md (Refusals); sealing is retried by itself")
            }
        }
    }
}

fn new_epoch(Partition { topic, number, .. }: &Partition, start: u64) -> String {
    format!(
        "find out what happened to the topic, and keep what is left of the old events. If Kafka can get the old log back, \
         repair it and restart this process. Otherwise begin a new epoch once, which seals what Kafka holds now: `streamseal epoch --config FILE --topic {topic} --partition {number} --start {start} \
         --operator-key FILE`"
    )
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = |id: &Option<String>| id.as_deref().unwrap_or("-").to_owned();
        match self {
            Self::Recreated { signed, found, .. } => {
                write!(f, "the topic was recreated: signed topic id {}, Kafka shows {}", id(signed), id(found))
            }
            Self::Truncated { next, high, .. } => {
                write!(f, "the log was truncated: sealed up to offset {next}, Kafka's high watermark is {high}")
            }
            Self::Altered { offset, signed, found, .. } => {
                write!(f, "the event at offset {offset} is another one: signed leaf {signed}, Kafka returns {found}")
            }
            Self::Appeared { offset, found, .. } => {
                write!(
                    f,
                    "an event appeared at offset {offset}, which was sealed without one: Kafka returns leaf {found}"
                )
            }
            Self::Unreadable { offset, problem } => {
                write!(f, "the record at offset {offset} cannot be read: {problem}")
            }
            Self::Misread { offset, problem } => {
                write!(f, "the client library misreads the record at offset {offset}: {problem}")
            }
            Self::OtherCluster { signed, found } => {
                write!(
                    f,
                    "Kafka is another cluster: the ledger holds streams of {}, Kafka shows {found}",
                    signed.join(", ")
                )
            }
            Self::CursorWentBack { before, now } => {
                write!(f, "the committer's cursor went back: before {before}, now {now}")
            }
            Self::BadCursor { problem } => write!(f, "the committer's answer does not verify: {problem}"),
            Self::KeyNotGranted { problem } => f.write_str(problem),
            Self::Refused { code, message } => write!(f, "the committer refuses ({code}): {message}"),
        }
    }
}
