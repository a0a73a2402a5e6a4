//! A verification under way, which several files implement in turn.

use bundle::Reader;
use evidence::{SignedCheckpoint, TrustFile};

use crate::chain::Chain;
use crate::finding::Findings;
use crate::heads::Plan;
use crate::inputs::Inputs;
use crate::report::Report;

/// The question, and the findings and report so far.
pub(crate) struct Verification<'a> {
    pub(crate) inputs: &'a Inputs,
    pub(crate) trust: &'a TrustFile,
    pub(crate) findings: &'a mut Findings,
    pub(crate) report: &'a mut Report,
}

/// The content of a bundle or an event proof, once it is read.
pub(crate) struct Shown<'a> {
    /// The bundle; `None` for an event proof.
    pub(crate) reader: Option<&'a Reader>,
    /// The checkpoint, signed by the log.
    pub(crate) signed: SignedCheckpoint,
    pub(crate) chain: Chain,
    pub(crate) plan: Plan,
}
