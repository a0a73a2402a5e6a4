-- Text is compared byte by byte, as SQLite does it. The collation of the database may sort otherwise after an upgrade of
-- the operating system (glibc) or of ICU: an index built before no longer finds what is there, and lets in a second row
-- where one is.
--
-- What this costs: no row is rewritten; the indexes over text are built anew, so what they lost is found again. Those of
-- ledgers and streams are small. For entries_without_stream all of entries is read once: minutes for 10^8 entries. Each
-- table stays locked until the end (ACCESS EXCLUSIVE), so nothing is appended and served meanwhile. Locks are taken in the
-- order in which an append takes them.
--
-- Other committers of the database must be restarted afterwards: what they prepared is about the columns as they were.
ALTER TABLE ledgers ALTER COLUMN origin TYPE TEXT COLLATE "C";
ALTER TABLE entries ALTER COLUMN kind TYPE TEXT COLLATE "C";
ALTER TABLE streams
    ALTER COLUMN cluster TYPE TEXT COLLATE "C",
    ALTER COLUMN topic TYPE TEXT COLLATE "C",
    ALTER COLUMN topic_id TYPE TEXT COLLATE "C";
