//! Deliberate defects of the parts around the code under test.

/// A deliberate defect. A model that does not notice it proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// The database sometimes loses an acknowledged commit.
    CommitForgotten,
    /// A cursor sometimes moves without an entry.
    CursorWithoutEntry,
    /// A consumer whose summary was refused signs its root again, for the offsets after the statement that came first.
    SignsAgain,
    /// At every start, the signer's high-water file is rebuilt from the database.
    NewHighWater,
    /// The broker sometimes acknowledges a commitment and loses it.
    CommitmentsLost,
}
