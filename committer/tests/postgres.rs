//! The suite on PostgreSQL, and what only a database server can do.

mod suite;

use suite::Database;
use tests::Postgres;

fn new_database() -> Database {
    Database { url: Postgres::shared().database(), _folder: None }
}

suite::whole_suite!(new_database());
