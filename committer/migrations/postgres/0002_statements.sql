-- A statement of a stream is found by its offsets (entries_by_offset), so only those without a stream need an index by
-- hash: keys, heads and the genesis, few of either. The index over all of them was written to at random places, which
-- made every append slower as the chain grew.
DROP INDEX entries_by_statement;
CREATE UNIQUE INDEX entries_by_statement ON entries (ledger, statement) WHERE stream IS NULL;
