//! The connections for reading, of either engine.

use std::sync::Arc;

use tracing::Instrument as _;

use crate::dialect::Dialect;
use crate::observing::Watch;
use crate::postgres_readers::PostgresReaders;
use crate::sqlite::SqliteReaders;
use crate::value::{Row, Value};
use crate::{StorageError, postgres};

pub(crate) enum Readers {
    Sqlite(SqliteReaders),
    Postgres(PostgresReaders),
}

/// What is needed to read.
pub(crate) struct Reading {
    pub(crate) readers: Readers,
    pub(crate) dialect: Arc<Dialect>,
    pub(crate) watch: Arc<Watch>,
}

impl Reading {
    /// Runs a reading statement and maps every row of its answer.
    pub(crate) async fn query<T>(
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

    pub(crate) async fn close(&self) {
        match &self.readers {
            Readers::Sqlite(readers) => readers.close().await,
            Readers::Postgres(readers) => readers.close().await,
        }
    }
}
