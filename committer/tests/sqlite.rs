//! The suite on SQLite.

#[path = "suite/all.rs"]
mod all;
mod suite;

use suite::Database;

all::whole_suite!(Database::sqlite());
