//! Results go to standard output, one line at a time; logs and progress go to standard error.

use std::fmt::Display;
use std::io::Write as _;

/// Prints a line. A closed pipe, as in `streamseal ... | head`, is not an error.
pub(crate) fn line(text: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints why a command failed.
pub(crate) fn problem(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "streamseal: {text}");
}
