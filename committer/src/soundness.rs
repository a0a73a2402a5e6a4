/// Whether the signer found the database fit to append to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Soundness {
    /// The signer has not compared it with the signed heads yet.
    Unchecked,
    /// Nothing speaks against appending.
    Sound,
    /// It contradicts what was signed, or holds an invalid chain. Nothing may be appended.
    Unsound(String),
}
