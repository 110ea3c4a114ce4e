//! The connections for reading, of either engine.

use std::sync::Arc;

use tracing::Instrument as _;

use crate::dialect::Dialect;
use crate::observing::Watch;
use crate::postgres_readers::PostgresReaders;
use crate::sqlite::SqliteReaders;
use crate::value::{Row, Value};
use crate::{StorageError, postgres};

/// How often a statement runs on SQLite before others may have the thread.
const ROUNDS_AT_ONCE: usize = 20;

pub enum Readers {
    Sqlite(SqliteReaders),
    Postgres(PostgresReaders),
}

/// What is needed to read.
pub struct Reading {
    pub readers: Readers,
    pub dialect: Arc<Dialect>,
    pub watch: Arc<Watch>,
}

impl Reading {
    /// Runs a reading statement and maps every row of its answer.
    pub async fn query<T>(
        &self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        let statement = self.dialect.statement(sql);
        match &self.readers {
            Readers::Sqlite(readers) => readers.query(&statement, params, map).await,
            // Boxed: a round trip dwarfs an allocation, and every request that may read would carry the room for it.
            Readers::Postgres(readers) => {
                let read = postgres::read((readers, &self.watch), &statement, params, map);
                Box::pin(read.instrument(statement.span())).await
            }
        }
    }

    /// Runs a reading statement once for each set of parameters, and maps every row of the answers. SQLite reads some of the
    /// sets in one transaction.
    pub async fn query_each<'v, T, const N: usize>(
        &self,
        sql: &'static str,
        rounds: impl Iterator<Item = [Value<'v>; N]>,
        mut map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        let statement = self.dialect.statement(sql);
        let rounds: Vec<[Value<'v>; N]> = rounds.collect();
        let mut answer = Vec::new();
        for rounds in rounds.chunks(ROUNDS_AT_ONCE) {
            match &self.readers {
                Readers::Sqlite(readers) => readers.query_each(&statement, rounds, &mut map, &mut answer).await?,
                Readers::Postgres(_) => {
                    for params in rounds {
                        answer.extend(self.query(sql, params, &mut map).await?);
                    }
                }
            }
        }
        Ok(answer)
    }

    pub async fn close(&self) {
        match &self.readers {
            Readers::Sqlite(readers) => readers.close().await,
            Readers::Postgres(readers) => readers.close().await,
        }
    }
}
