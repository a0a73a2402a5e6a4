//! The migrations in `committer/migrations`, built into the binary.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

pub(super) fn postgres() -> Migrator {
    migrator(&[
        (1, "chain", include_str!("../../migrations/postgres/0001_chain.sql")),
        (2, "statements", include_str!("../../migrations/postgres/0002_statements.sql")),
        (3, "collation", include_str!("../../migrations/postgres/0003_collation.sql")),
    ])
}

pub(super) fn sqlite() -> Migrator {
    migrator(&[
        (1, "chain", include_str!("../../migrations/sqlite/0001_chain.sql")),
        (2, "statements", include_str!("../../migrations/sqlite/0002_statements.sql")),
    ])
}

/// Takes the version, name and SQL of each, in order. A released one never changes.
fn migrator(files: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(files.iter().map(migration).collect())
}
