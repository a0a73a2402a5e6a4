//! The reading half of [`Store`](super::Store), which is the same for both databases. It is a macro, because sqlx's pools
//! of different databases are different types.

/// Implements `Store` for a type with the field `ledger` (its id) and the pools named as `read` and `write`; the methods
/// given are those in which the databases differ. Statements go through the type's method `ask`.
macro_rules! impl_store {
    ($store:ty, read: $read:ident, write: $write:ident, { $($own:tt)* }) => {
        #[async_trait]
        impl Store for $store {
            $($own)*

            async fn position(&self) -> Result<Option<Position>, StoreError> {
                sql::position(self.ask(sqlx::query_as(sql::POSITION).bind(self.ledger).fetch_one(&self.$read)).await?)
            }

            async fn entries(&self, seqs: Range<u64>) -> Result<Vec<StoredEntry>, StoreError> {
                let query = sqlx::query_as(sql::ENTRIES).bind(self.ledger);
                sql::entries(self.ask(query.bind(column(seqs.start)).bind(column(seqs.end)).fetch_all(&self.$read)).await?)
            }

            async fn rows(&self, seqs: Range<u64>) -> Result<Vec<EntryRow>, StoreError> {
                let query = sqlx::query_as(sql::ROWS).bind(self.ledger);
                let rows = self.ask(query.bind(column(seqs.start)).bind(column(seqs.end)).fetch_all(&self.$read)).await?;
                rows.into_iter().map(sql::row).collect()
            }

            async fn ledger_entries(&self, seqs: Range<u64>) -> Result<Vec<StoredEntry>, StoreError> {
                let query = sqlx::query_as(sql::LEDGER_ENTRIES).bind(self.ledger);
                sql::entries(self.ask(query.bind(column(seqs.start)).bind(column(seqs.end)).fetch_all(&self.$read)).await?)
            }

            async fn key_entries(&self) -> Result<Vec<StoredEntry>, StoreError> {
                sql::entries(self.ask(sqlx::query_as(sql::KEY_ENTRIES).bind(self.ledger).fetch_all(&self.$read)).await?)
            }

            async fn heads_entry(&self, size: u64) -> Result<Option<StoredEntry>, StoreError> {
                let query = sqlx::query_as(sql::HEADS_ENTRY).bind(self.ledger).bind(column(size));
                self.ask(query.fetch_optional(&self.$read)).await?.map(sql::entry).transpose()
            }

            async fn heads_lines(&self, size: u64) -> Result<Vec<HeadsLine>, StoreError> {
                let query = sqlx::query_as(sql::HEADS_LINES).bind(self.ledger).bind(column(size));
                self.ask(query.fetch_all(&self.$read)).await?.into_iter().map(sql::line).collect()
            }

            async fn newest_entries(&self, size: u64) -> Result<Vec<StreamNewest>, StoreError> {
                let query = sqlx::query_as(sql::NEWEST_ENTRIES).bind(self.ledger).bind(column(size));
                self.ask(query.fetch_all(&self.$read)).await?.into_iter().map(sql::newest).collect()
            }

            async fn streams(&self) -> Result<Vec<StreamRow>, StoreError> {
                let rows = self.ask(sqlx::query_as(sql::STREAMS).bind(self.ledger).fetch_all(&self.$read)).await?;
                rows.into_iter().map(sql::stream).collect()
            }

            async fn moved_streams(&self, seqs: Range<u64>) -> Result<Vec<StreamRow>, StoreError> {
                let query = sqlx::query_as(sql::MOVED_STREAMS).bind(self.ledger);
                let rows = self.ask(query.bind(column(seqs.start)).bind(column(seqs.end)).fetch_all(&self.$read)).await?;
                rows.into_iter().map(sql::stream).collect()
            }

            async fn clusters(&self) -> Result<Vec<String>, StoreError> {
                self.ask(sqlx::query_scalar(sql::CLUSTERS).bind(self.ledger).fetch_all(&self.$read)).await
            }

            async fn ends(&self, seqs: Range<u64>) -> Result<Vec<StreamEnd>, StoreError> {
                let query = sqlx::query_as(sql::ENDS).bind(self.ledger);
                let rows = self.ask(query.bind(column(seqs.start)).bind(column(seqs.end)).fetch_all(&self.$read)).await?;
                rows.into_iter().map(sql::end).collect()
            }

            async fn open_stream(&self, partition: &Partition) -> Result<Option<StreamRow>, StoreError> {
                let query = sqlx::query_as(sql::OPEN_STREAM)
                    .bind(self.ledger)
                    .bind(&partition.cluster)
                    .bind(&partition.topic)
                    .bind(i64::from(partition.number));
                let row = self.ask(query.fetch_optional(&self.$read)).await?;
                row.map(sql::stream).transpose()
            }

            async fn stream_entries(
                &self,
                stream: &StreamId,
                from: u64,
                limit: u32,
            ) -> Result<Vec<StoredEntry>, StoreError> {
                let query = sqlx::query_as(sql::STREAM_ENTRIES)
                    .bind(self.ledger)
                    .bind(&stream.partition.cluster)
                    .bind(&stream.partition.topic)
                    .bind(i64::from(stream.partition.number))
                    .bind(column(stream.epoch))
                    .bind(column(from))
                    .bind(i64::from(limit));
                let rows = self.ask(query.fetch_all(&self.$read)).await?;
                sql::entries(rows)
            }

            async fn covering_entry(&self, stream: &StreamId, offset: u64) -> Result<Option<StoredEntry>, StoreError> {
                let query = sqlx::query_as(sql::COVERING_ENTRY)
                    .bind(self.ledger)
                    .bind(&stream.partition.cluster)
                    .bind(&stream.partition.topic)
                    .bind(i64::from(stream.partition.number))
                    .bind(column(stream.epoch))
                    .bind(column(offset));
                let row = self.ask(query.fetch_optional(&self.$read)).await?;
                row.map(sql::entry).transpose()
            }

            async fn nodes(&self, level: u8, indices: Range<u64>) -> Result<Vec<Hash>, StoreError> {
                let query = if level == 0 { sqlx::query_scalar(sql::LEAVES) } else { sqlx::query_scalar(sql::NODES) };
                let query = query.bind(self.ledger).bind(column(indices.start)).bind(column(indices.end));
                let query = if level == 0 { query } else { query.bind(i64::from(level)) };
                let hashes: Vec<Vec<u8>> = self.ask(query.fetch_all(&self.$read)).await?;
                hashes.iter().map(|hash| sql::hash(hash)).collect()
            }

            async fn stray_entry(&self, size: u64) -> Result<Option<i64>, StoreError> {
                let query = sqlx::query_scalar(sql::STRAY_ENTRY).bind(self.ledger).bind(column(size));
                self.ask(query.fetch_optional(&self.$read)).await
            }

            async fn node_count(&self) -> Result<u64, StoreError> {
                sql::number(self.ask(sqlx::query_scalar(sql::NODE_COUNT).bind(self.ledger).fetch_one(&self.$read)).await?)
            }

            async fn checkpoint(&self) -> Result<Option<StoredCheckpoint>, StoreError> {
                let row = self.ask(sqlx::query_as(sql::CHECKPOINT).bind(self.ledger).fetch_optional(&self.$read)).await?;
                row.map(sql::checkpoint).transpose()
            }

            async fn put_checkpoint(&self, checkpoint: &StoredCheckpoint) -> Result<(), StoreError> {
                let query = sqlx::query(sql::PUT_CHECKPOINT)
                    .bind(self.ledger)
                    .bind(column(checkpoint.head.size))
                    .bind(checkpoint.head.root.as_bytes().as_slice())
                    .bind(checkpoint.note.as_slice());
                self.ask(query.execute(&self.$write)).await?;
                Ok(())
            }

            async fn published(&self) -> Result<Option<u64>, StoreError> {
                let size = self.ask(sqlx::query_scalar(sql::PUBLISHED).bind(self.ledger).fetch_optional(&self.$read)).await?;
                size.map(sql::number).transpose()
            }

            async fn set_published(&self, size: u64) -> Result<(), StoreError> {
                let query = sqlx::query(sql::SET_PUBLISHED).bind(self.ledger).bind(column(size));
                self.ask(query.execute(&self.$write)).await?;
                Ok(())
            }
        }
    };
}

pub(super) use impl_store;
