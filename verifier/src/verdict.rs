//! The verdicts of a verification, and which of several is the gravest.

use std::fmt;

/// The result of a verification, for the whole, for one stream, or for one finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Everything expected is there and holds.
    Proven,
    /// Two things that must agree contradict each other: something was changed, added or reordered.
    Tampered,
    /// The question makes no sense.
    Usage,
    /// Something expected is absent.
    Incomplete,
    /// No witness vouches for the head, or not recently enough.
    NotAnchored,
    /// The verifier cannot read the input, or does not know its version.
    Unusable,
}

impl Verdict {
    /// The exit code (SPEC.md, "Verdicts").
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Proven => 0,
            Self::Tampered => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::NotAnchored => 4,
            Self::Unusable => 5,
        }
    }

    /// The graver of two verdicts: tampered, then unusable, incomplete, not anchored, proven.
    pub fn or(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }

    /// How grave it is: 0 for proven, up to 5.
    pub(crate) fn rank(self) -> u8 {
        match self {
            Self::Proven => 0,
            Self::NotAnchored => 1,
            Self::Incomplete => 2,
            Self::Unusable => 3,
            Self::Tampered => 4,
            Self::Usage => 5,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proven => "proven",
            Self::Tampered => "tampered",
            Self::Usage => "usage",
            Self::Incomplete => "incomplete",
            Self::NotAnchored => "not anchored",
            Self::Unusable => "unusable",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graver_verdict_wins() {
        use Verdict::*;
        let order = [Proven, NotAnchored, Incomplete, Unusable, Tampered];
        for (i, a) in order.into_iter().enumerate() {
            for (j, b) in order.into_iter().enumerate() {
                assert_eq!(a.or(b), order[i.max(j)]);
            }
        }
        assert_eq!(
            [Proven, Tampered, Usage, Incomplete, NotAnchored, Unusable].map(Verdict::exit_code),
            [0, 1, 2, 3, 4, 5]
        );
    }
}
