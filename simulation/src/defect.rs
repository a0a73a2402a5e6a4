//! Deliberate defects of the parts around the code under test.

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// The database sometimes forgets a commit that it acknowledged.
    CommitForgotten,
    /// A cursor sometimes moves without an entry.
    CursorWithoutEntry,
    /// A consumer whose summary was refused signs the same root for the offsets after the statement that came in between.
    SignsAgain,
    /// At every start the signer's high-water file is made anew from whatever database is there.
    NewHighWater,
    /// The broker sometimes acknowledges a commitment that it does not keep.
    CommitmentsLost,
}
