//! The connections for reading, of either engine.

use std::sync::Arc;

use tracing::Instrument as _;

use crate::dialect::{Dialect, Engine};
use crate::observing::{PoolState, Watch};
use crate::postgres_readers::PostgresReaders;
use crate::sqlite::SqliteReaders;
use crate::{Row, StorageError, Value, postgres};

/// How often a statement runs on SQLite before others may have the thread.
const ROUNDS_AT_ONCE: usize = 20;

pub(crate) enum ReadConnections {
    Sqlite(SqliteReaders),
    Postgres(PostgresReaders),
}

/// Runs statements that read, outside of a transaction.
pub struct Readers {
    pub(crate) connections: ReadConnections,
    pub(crate) dialect: Arc<Dialect>,
    pub(crate) watch: Arc<Watch>,
}

impl Readers {
    /// Runs a reading statement and maps every row of its answer.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails or a row is not as expected.
    pub async fn query<T>(
        &self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        let statement = self.dialect.statement(sql);
        match &self.connections {
            ReadConnections::Sqlite(readers) => readers.query(&statement, params, map).await,
            // Boxed: a round trip dwarfs an allocation, and every request that may read would carry the room for it.
            ReadConnections::Postgres(readers) => {
                let read = postgres::read((readers, &self.watch), &statement, params, map);
                Box::pin(read.instrument(statement.span())).await
            }
        }
    }

    /// Runs a reading statement once for each set of parameters, and maps every row of the answers. SQLite reads some of the
    /// sets in one transaction.
    pub(crate) async fn query_each<'v, T, const N: usize>(
        &self,
        sql: &'static str,
        rounds: impl Iterator<Item = [Value<'v>; N]>,
        mut map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        let statement = self.dialect.statement(sql);
        let rounds: Vec<[Value<'v>; N]> = rounds.collect();
        let mut answer = Vec::new();
        for rounds in rounds.chunks(ROUNDS_AT_ONCE) {
            match &self.connections {
                ReadConnections::Sqlite(readers) => {
                    readers.query_each(&statement, rounds, &mut map, &mut answer).await?
                }
                ReadConnections::Postgres(_) => {
                    for params in rounds {
                        answer.extend(self.query(sql, params, &mut map).await?);
                    }
                }
            }
        }
        Ok(answer)
    }

    pub(crate) fn engine(&self) -> Engine {
        match &self.connections {
            ReadConnections::Sqlite(_) => Engine::Sqlite,
            ReadConnections::Postgres(_) => Engine::Postgres,
        }
    }

    /// The connections, now.
    pub(crate) fn state(&self, queued_writes: usize) -> PoolState {
        let (open, idle, max) = match &self.connections {
            ReadConnections::Sqlite(readers) => (readers.connections(), readers.idle(), readers.connections()),
            ReadConnections::Postgres(readers) => {
                let pool = readers.pool();
                (pool.size() as usize, readers.idle(), pool.options().get_max_connections() as usize)
            }
        };
        PoolState { open, idle, max, waiting: self.watch.waiting(), queued_writes }
    }

    pub(crate) async fn close(&self) {
        match &self.connections {
            ReadConnections::Sqlite(readers) => readers.close().await,
            ReadConnections::Postgres(readers) => readers.close().await,
        }
    }
}
