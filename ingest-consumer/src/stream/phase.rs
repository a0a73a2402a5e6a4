use evidence::Hash;

use super::read_state::ReadState;
use super::{Refusal, SealedTail};
use crate::halt::Halt;

/// What a stream is doing.
#[derive(Debug)]
pub(super) enum Phase {
    /// It inspects at this time.
    InspectAt(u64),
    /// It waits for the answer to [`Action::Inspect`](super::Action::Inspect).
    Inspecting,
    /// It reads events below the cursor and compares them with what was signed.
    Comparing(Box<ReadState>, SealedTail),
    /// It reads and batches events from the cursor on.
    Sealing(Box<ReadState>),
    /// It reads no further, but still submits its pending statements.
    Draining(AfterDrain),
    /// It waits for a person, or for the problem to go away.
    Halted(Halted),
    /// A stream on a new client replaces it.
    Retired,
}

/// What follows when all pending statements are acknowledged.
#[derive(Debug)]
pub(super) enum AfterDrain {
    /// An inspection, at this time or later.
    Inspect(u64),
    Halt(Halt),
}

#[derive(Debug)]
pub(super) struct Halted {
    pub(super) halt: Halt,
    pub(super) until: HaltUntil,
    /// When to inspect again; `None` while an inspection is in flight.
    pub(super) inspect_at_ms: Option<u64>,
}

/// What ends a halt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HaltUntil {
    /// The newest statement is another than this one: the operator signed something.
    NewStatement(Option<Hash>),
    /// An inspection finds no problem.
    CleanInspection,
}

/// A refusal that is explained if another process sealed something meanwhile. The next inspection tells.
#[derive(Debug)]
pub(super) struct UnexplainedRefusal {
    pub(super) refusal: Refusal,
    /// The newest statement that this stream knew when it made the refused one.
    pub(super) prev: Option<Hash>,
}
