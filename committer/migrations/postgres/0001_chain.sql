-- A database may hold many ledgers; every table is keyed by one. Hashes are 32 raw bytes; offsets, seqs, numbers and
-- times (milliseconds since 1970) are 63-bit. There are no foreign keys: every write happens under the lock of its
-- ledger's row, and `fsck` checks far more than they could.

-- Where each chain stands. Appending locks the row.
CREATE TABLE ledgers (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    origin TEXT NOT NULL UNIQUE,
    genesis BYTEA NOT NULL,
    next_seq BIGINT NOT NULL DEFAULT 0,
    head BYTEA,
    time_ms BIGINT
) WITH (fillfactor = 50);

-- The entries, never changed and never removed: the chain, and the outbox of the topic of commitments. `entry` is what
-- counts; the other columns repeat what it says, for lookups. `stream` is streams.number.
CREATE TABLE entries (
    ledger BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    leaf BYTEA NOT NULL,
    statement BYTEA NOT NULL,
    kind TEXT NOT NULL,
    stream BIGINT,
    first_offset BIGINT,
    next_offset BIGINT,
    entry BYTEA NOT NULL,
    PRIMARY KEY (ledger, seq)
);
CREATE UNIQUE INDEX entries_by_statement ON entries (ledger, statement);
CREATE UNIQUE INDEX entries_by_offset ON entries (ledger, stream, next_offset) INCLUDE (seq) WHERE stream IS NOT NULL;
CREATE INDEX entries_without_stream ON entries (ledger, kind, seq) WHERE stream IS NULL;

-- Where each stream stands. `number` is the seq of its first entry; `statement` and `seq` name its newest one,
-- `last_summary` the newest entry with a summary that has events.
CREATE TABLE streams (
    ledger BIGINT NOT NULL,
    number BIGINT NOT NULL,
    cluster TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition_number BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    topic_id TEXT,
    start_offset BIGINT NOT NULL,
    next_offset BIGINT NOT NULL,
    statement BYTEA NOT NULL,
    seq BIGINT NOT NULL,
    last_offset BIGINT,
    last_leaf BYTEA,
    last_summary BIGINT,
    PRIMARY KEY (ledger, number),
    UNIQUE (ledger, cluster, topic, partition_number, epoch)
) WITH (fillfactor = 50);

-- The complete subtrees of the RFC 6962 tree whose level is a multiple of 8, leaves apart (they are in entries.leaf).
CREATE TABLE tree_nodes (
    ledger BIGINT NOT NULL,
    level BIGINT NOT NULL,
    node_index BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (ledger, level, node_index)
);

-- The newest signed checkpoint.
CREATE TABLE checkpoints (
    ledger BIGINT PRIMARY KEY,
    size BIGINT NOT NULL,
    root BYTEA NOT NULL,
    note BYTEA NOT NULL
) WITH (fillfactor = 50);

-- How many entries the topic of commitments has.
CREATE TABLE publications (
    ledger BIGINT PRIMARY KEY,
    size BIGINT NOT NULL
) WITH (fillfactor = 50);
