use std::sync::Arc;

use evidence::statement::LedgerId;

use crate::appender::Appender;
use crate::checkpoints::Checkpoints;
use crate::compute::{Compute, Turns};
use crate::store::Store;

/// An opened ledger to serve: does what HTTP requests ask for, once they are parsed.
#[derive(Clone)]
pub struct Opened {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) appender: Appender,
    pub(crate) ledger: LedgerId,
    pub(crate) compute: Compute,
    pub(crate) turns: Turns,
}
