//! Runs every command of README.md, docs/operations.md and docs/auditing.md as it is written there, in order.
//!
//! A page's commands all run and must succeed, except for a short list with reasons. Hooks bring the ledger into the
//! state that a section assumes. `docker/test` does the same for docker/README.md.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

mod operations;
mod page;
mod readme;
mod shell;

/// A command that does not run here, by a part of its text, and the reason.
type Exception = (&'static str, &'static str);

/// Requires that each exception is for a command that is still there.
fn assert_all_met(exceptions: &[Exception], commands: &[page::Command]) {
    for (part, reason) in exceptions {
        let is_met = commands.iter().any(|command| command.text.contains(part));
        assert!(is_met, "no command has {part:?}, which was an exception: {reason}");
    }
}
