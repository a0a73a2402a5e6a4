//! Measures streamseal. Each *case* measures ours and a baseline in turns, in one run on one machine. Raw results are
//! kept as JSON. Tables, plots and the comparison of two runs come from them.
//!
//! A new case is a module in `cases`, and a line in the list there.

mod case;
pub mod cases;
pub mod compare;
mod embedded;
pub mod line;
pub mod load;
mod long_chain;
mod machine;
mod measurement;
mod memory_ledger;
mod plan;
mod plot;
mod processor;
pub mod report;
mod results;
mod servers;
mod statistics;
mod submissions;

pub use case::{Case, Context};
pub use machine::Machine;
pub use measurement::{Baseline, Better, Goal, Measurement};
pub use plan::{Plan, folder_name};
pub use results::{CaseResults, Results};
pub use servers::{Addresses, Servers, VersionOf};
