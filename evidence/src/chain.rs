//! Decides whether a chain is valid. The committer, the signer, `fsck` and the verifier all use this one pure function.

mod keys;
mod refusal;
mod signatures;
mod streams;
#[cfg(test)]
mod tests;

pub use keys::{GrantedKey, Keys, NotByLog, Revocation};
pub use refusal::{Refusal, RefusalKind};
pub use streams::{StreamState, Streams};

pub use crate::statement::Role;

use crate::statement::{Heads, LedgerId, Statement, heads_root};
use crate::{EncodedEntry, Entry, Hash, SignedStatement, StreamId};

/// The state of a ledger after the entries applied so far.
///
/// Usually every entry is applied in turn. A reader of partial evidence (a bundle) calls [`State::skip_to`] where
/// entries were not given. From then on the state checks everything that does not depend on the missing ones. No key
/// statement can be missing unnoticed, because each entry names the newest of them.
#[derive(Debug, Clone)]
pub struct State {
    ledger: LedgerId,
    next_seq: u64,
    /// The leaf hash of the entry before `next_seq`; `None` at the start and after a skip.
    last_leaf: Option<Hash>,
    time: i64,
    /// Every entry from here to `next_seq` was applied.
    unbroken_from: u64,
    keys: Keys,
    streams: Streams,
    heads: Option<Heads>,
}

/// The position of a chain, as a store keeps it beside the key entries and the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The seq of the next entry.
    pub next_seq: u64,
    /// The leaf hash of the entry before it.
    pub last_leaf: Hash,
    /// The time of that entry in milliseconds since 1970.
    pub time: i64,
}

impl State {
    /// The state before entry 0 of the ledger with this origin and this SHA-256 of the genesis text.
    pub fn new(origin: &str, genesis: Hash) -> Self {
        Self {
            ledger: LedgerId { origin: origin.to_owned(), genesis },
            next_seq: 0,
            last_leaf: None,
            time: i64::MIN,
            unbroken_from: 0,
            keys: Keys::default(),
            streams: Streams::default(),
            heads: None,
        }
    }

    /// The state after all key entries of a ledger, in order. The keys are complete, the streams unknown.
    ///
    /// # Errors
    /// When an entry is refused.
    pub fn of_keys<'a>(ledger: &LedgerId, key_entries: impl IntoIterator<Item = &'a Entry>) -> Result<Self, Refusal> {
        let mut state = Self::new(&ledger.origin, ledger.genesis);
        state.apply_some(key_entries)?;
        Ok(state)
    }

    /// The state at `position`, continued from this one with the contents of a store. It takes the entries in between
    /// that belong to no stream, in order, and the states of the streams that the others moved. Of heads entries the
    /// newest is enough. This verifies the given entries. The signer and `fsck` verify the rest.
    ///
    /// # Errors
    /// When an entry is refused, or is at or after the position.
    pub fn resume<'a>(
        mut self,
        entries: impl IntoIterator<Item = &'a Entry>,
        moved: impl IntoIterator<Item = StreamState>,
        position: Position,
    ) -> Result<Self, Refusal> {
        let unbroken_from = self.unbroken_from;
        self.apply_some(entries)?;
        if self.next_seq > position.next_seq {
            return Err(Refusal::WrongSeq { expected: position.next_seq, found: self.next_seq - 1 });
        }
        for stream in moved {
            self.streams.put(stream);
        }
        self.next_seq = position.next_seq;
        self.last_leaf = Some(position.last_leaf);
        self.time = position.time;
        self.unbroken_from = unbroken_from;
        Ok(self)
    }

    fn apply_some<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>) -> Result<(), Refusal> {
        for entry in entries {
            self.skip_to(entry.seq);
            self.apply(entry)?;
        }
        Ok(())
    }

    /// Moves to `seq` without the entries in between, which were not given. Does nothing when `seq` is not ahead.
    pub fn skip_to(&mut self, seq: u64) {
        if seq > self.next_seq {
            self.next_seq = seq;
            self.last_leaf = None;
            self.unbroken_from = seq;
        }
    }

    /// The entry that a statement would become, appended at `now` in milliseconds since 1970.
    pub fn draft(&self, statement: SignedStatement, now: i64) -> Entry {
        Entry {
            seq: self.next_seq,
            prev: self.last_leaf,
            keys: self.keys.newest(),
            time: now.max(self.time),
            statement,
        }
    }

    /// Applies the next entry. A refused entry leaves the state as it was.
    ///
    /// # Errors
    /// The first rule of SPEC.md section 8.2 that the entry breaks.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Refusal> {
        self.check(entry)?;
        self.take(entry, entry.leaf_hash());
        Ok(())
    }

    /// Does the same as [`State::apply`] without encoding and hashing the entry again.
    ///
    /// # Errors
    /// The same as [`State::apply`].
    pub fn apply_encoded(&mut self, encoded: &EncodedEntry) -> Result<(), Refusal> {
        self.check(encoded.entry())?;
        self.take(encoded.entry(), encoded.leaf());
        Ok(())
    }

    fn check(&self, entry: &Entry) -> Result<(), Refusal> {
        self.check_place(entry)?;
        let statement = entry.statement.statement();
        self.check_ledger(entry)?;
        signatures::check(&self.keys, entry)?;
        match statement {
            Statement::Genesis(_) => {}
            Statement::Key(key) => self.keys.check(key, entry.seq, &self.ledger)?,
            Statement::Summary(_) | Statement::Gap(_) => {
                let advance = statement.advance().expect("summaries and gaps advance a stream");
                self.streams.check_advance(&advance, self.unbroken_from)?;
                if let Statement::Gap(gap) = statement {
                    self.streams.check_gap(gap)?;
                }
            }
            Statement::Epoch(epoch) => self.streams.check_epoch(epoch, self.unbroken_from)?,
            Statement::Heads(heads) => self.check_heads(heads)?,
        }
        Ok(())
    }

    /// The ledger's origin and genesis hash.
    pub fn ledger(&self) -> &LedgerId {
        &self.ledger
    }

    /// The seq of the next entry, which is also the tree size.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The leaf hash of the newest entry; `None` at the start and after a skip.
    pub fn last_leaf(&self) -> Option<Hash> {
        self.last_leaf
    }

    /// The time of the newest entry in milliseconds since 1970; `i64::MIN` at the start.
    pub fn time(&self) -> i64 {
        self.time
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The streams.
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// The state of a stream that has a statement.
    pub fn stream(&self, id: &StreamId) -> Option<&StreamState> {
        self.streams.state(id)
    }

    /// The newest heads statement applied.
    pub fn heads(&self) -> Option<&Heads> {
        self.heads.as_ref()
    }

    /// The heads statement that is true now; `None` when nothing moved since the last one.
    pub fn draft_heads(&self) -> Option<Heads> {
        let heads = Heads {
            ledger: self.ledger.clone(),
            streams: self.streams.len() as u64,
            root: heads_root(self.streams.lines()),
        };
        let moved = self.heads.as_ref().map_or(heads.streams > 0, |last| *last != heads);
        moved.then_some(heads)
    }

    fn check_place(&self, entry: &Entry) -> Result<(), Refusal> {
        let seq = entry.seq;
        if seq != self.next_seq {
            return Err(Refusal::WrongSeq { expected: self.next_seq, found: seq });
        }
        // After a skip the previous leaf hash is unknown, so only its presence can be checked.
        let prev_fits = match self.last_leaf {
            Some(leaf) => entry.prev == Some(leaf),
            None => entry.prev.is_some() == (seq > 0),
        };
        if !prev_fits {
            return Err(Refusal::WrongEntryPrev { seq });
        }
        if entry.keys != self.keys.newest() {
            return Err(Refusal::WrongKeys { seq });
        }
        if entry.time < self.time {
            return Err(Refusal::TimeBackwards { seq, found: entry.time, previous: self.time });
        }
        Ok(())
    }

    fn check_ledger(&self, entry: &Entry) -> Result<(), Refusal> {
        match (entry.statement.statement(), entry.statement.statement().ledger()) {
            (Statement::Genesis(genesis), _) => {
                if entry.seq != 0 {
                    return Err(Refusal::WrongGenesis(format!("entry {} holds a second one", entry.seq)));
                }
                if genesis.origin != self.ledger.origin {
                    return Err(Refusal::WrongGenesis(format!("it is of origin {}", genesis.origin)));
                }
                let hash = entry.statement.hash();
                if hash != self.ledger.genesis {
                    return Err(Refusal::WrongGenesis(format!("hash {hash}, trusted is {}", self.ledger.genesis)));
                }
                Ok(())
            }
            (_, Some(ledger)) if *ledger == self.ledger && entry.seq > 0 => Ok(()),
            (_, Some(ledger)) if *ledger == self.ledger => {
                Err(Refusal::WrongGenesis("entry 0 holds another statement".into()))
            }
            (_, ledger) => Err(Refusal::WrongLedger {
                expected: self.ledger.to_string(),
                found: ledger.map(ToString::to_string).unwrap_or_default(),
            }),
        }
    }

    /// The root can be checked only when no entry is missing. Whether something moved can always be checked.
    fn check_heads(&self, heads: &Heads) -> Result<(), Refusal> {
        if self.heads.as_ref() == Some(heads) {
            return Err(Refusal::BadHeads("nothing moved since the last heads statement".into()));
        }
        if self.unbroken_from > 0 {
            return Ok(());
        }
        if heads.streams != self.streams.len() as u64 {
            return Err(Refusal::BadHeads(format!("{} streams, there are {}", heads.streams, self.streams.len())));
        }
        let root = heads_root(self.streams.lines());
        if heads.root != root {
            return Err(Refusal::BadHeads(format!("root {}, the streams have {root}", heads.root)));
        }
        Ok(())
    }

    /// Takes over an entry that was checked, with its leaf hash.
    fn take(&mut self, entry: &Entry, leaf: Hash) {
        let statement = entry.statement.statement();
        match statement {
            Statement::Genesis(genesis) => self.keys.begin(genesis, leaf, entry.statement.hash()),
            Statement::Key(key) => self.keys.change(key, entry.seq, leaf, entry.statement.hash()),
            Statement::Summary(_) | Statement::Gap(_) | Statement::Epoch(_) => self.streams.take(entry),
            Statement::Heads(heads) => self.heads = Some(heads.clone()),
        }
        self.next_seq = entry.seq + 1;
        self.last_leaf = Some(leaf);
        self.time = entry.time;
    }
}
