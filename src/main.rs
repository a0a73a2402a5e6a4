//! The `streamseal` command.
fn main() {}
