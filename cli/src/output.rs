//! Results go to standard output, one line at a time; logs and progress go to standard error.

use std::fmt::Display;
use std::io::Write as _;

/// Prints a line. A reader that went away, as in `streamseal ... | head`, is no error.
pub(crate) fn line(text: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints why a command could not do its work. Its exit code says so too, to whoever does not read it.
pub(crate) fn problem(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "streamseal: {text}");
}
