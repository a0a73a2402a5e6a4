//! The suite on SQLite.

#[path = "suite/all.rs"]
mod all;
mod suite;

use suite::Database;

fn new_database() -> Database {
    let folder = tempfile::tempdir().expect("a folder");
    Database { url: format!("sqlite:{}", folder.path().join("chain.db").display()), _folder: Some(folder) }
}

all::whole_suite!(new_database());
