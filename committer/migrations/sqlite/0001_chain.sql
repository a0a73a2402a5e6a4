-- A database may hold many ledgers; every table is keyed by one. Hashes are 32 raw bytes; offsets, seqs, numbers and
-- times (milliseconds since 1970) are 63-bit. There are no foreign keys: every write happens under the lock of its
-- ledger's row, and `fsck` checks far more than they could.

-- Where each chain stands. Appending locks the row.
CREATE TABLE ledgers (
    id INTEGER PRIMARY KEY,
    origin TEXT NOT NULL UNIQUE,
    genesis BLOB NOT NULL,
    next_seq INTEGER NOT NULL DEFAULT 0,
    head BLOB,
    time_ms INTEGER
) STRICT;

-- The entries, never changed and never removed: the chain, and the outbox of the topic of commitments. `entry` is what
-- counts; the other columns repeat what it says, for lookups. `stream` is streams.number.
CREATE TABLE entries (
    ledger INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    leaf BLOB NOT NULL,
    statement BLOB NOT NULL,
    kind TEXT NOT NULL,
    stream INTEGER,
    first_offset INTEGER,
    next_offset INTEGER,
    entry BLOB NOT NULL,
    PRIMARY KEY (ledger, seq)
) STRICT;
CREATE UNIQUE INDEX entries_by_statement ON entries (ledger, statement);
CREATE UNIQUE INDEX entries_by_offset ON entries (ledger, stream, next_offset) WHERE stream IS NOT NULL;
CREATE INDEX entries_without_stream ON entries (ledger, kind, seq) WHERE stream IS NULL;

-- Where each stream stands. `number` is the seq of its first entry; `statement` and `seq` name its newest one,
-- `last_summary` the newest entry with a summary that has events.
CREATE TABLE streams (
    ledger INTEGER NOT NULL,
    number INTEGER NOT NULL,
    cluster TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition_number INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    topic_id TEXT,
    start_offset INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    statement BLOB NOT NULL,
    seq INTEGER NOT NULL,
    last_offset INTEGER,
    last_leaf BLOB,
    last_summary INTEGER,
    PRIMARY KEY (ledger, number),
    UNIQUE (ledger, cluster, topic, partition_number, epoch)
) STRICT;

-- The complete subtrees of the RFC 6962 tree whose level is a multiple of 8, leaves apart (they are in entries.leaf).
CREATE TABLE tree_nodes (
    ledger INTEGER NOT NULL,
    level INTEGER NOT NULL,
    node_index INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (ledger, level, node_index)
) STRICT, WITHOUT ROWID;

-- The newest signed checkpoint.
CREATE TABLE checkpoints (
    ledger INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    note BLOB NOT NULL
) STRICT;

-- How many entries the topic of commitments has.
CREATE TABLE publications (
    ledger INTEGER PRIMARY KEY,
    size INTEGER NOT NULL
) STRICT;
