//! A write in progress.

mod lifecycle;
mod positions;
mod rows;
mod savepoints;

use std::sync::Arc;

use sqlx::PgConnection;
use tracing::Instrument as _;

use self::positions::Positions;
pub use self::rows::{ROWS_AT_ONCE, TableRows};
use crate::dialect::Dialect;
use crate::domain::Domain;
use crate::{Engine, Row, StorageError, Value, postgres, sqlite};

/// The transaction of a batch of writes. What is given to [`Transaction::publish`] becomes visible if, and only if, it commits.
///
/// The writer uses one `Transaction` for all batches on a connection, one after the other.
pub struct Transaction<D: Domain> {
    connection: WriteConnection,
    dialect: Arc<Dialect>,
    published: Vec<D::Entry>,
    positions: Positions,
    memory: D::Memory,
}

pub(crate) enum WriteConnection {
    Sqlite(rusqlite::Connection),
    Postgres(Box<PgConnection>),
}

impl<D: Domain> Transaction<D> {
    pub(crate) fn new(connection: WriteConnection, dialect: Arc<Dialect>, memory: D::Memory) -> Self {
        Self { connection, dialect, published: Vec::new(), positions: Positions::default(), memory }
    }

    /// Which engine runs it.
    pub fn engine(&self) -> Engine {
        match self.connection {
            WriteConnection::Sqlite(_) => Engine::Sqlite,
            WriteConnection::Postgres(_) => Engine::Postgres,
        }
    }

    /// What the writer remembers.
    pub fn memory(&self) -> &D::Memory {
        &self.memory
    }

    /// What the writer remembers, to be changed together with the database.
    pub fn memory_mut(&mut self) -> &mut D::Memory {
        &mut self.memory
    }

    /// Tells the observers of the log of `entry`, once the transaction has committed.
    pub fn publish(&mut self, entry: D::Entry) {
        self.published.push(entry);
    }

    /// Runs a statement and maps every row of its answer.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails or a row is not as expected.
    pub async fn query<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        let statement = self.dialect.statement(sql);
        let (sql, span, _timer) = (statement.sql, statement.span(), statement.timer());
        match &mut self.connection {
            WriteConnection::Sqlite(connection) => span.in_scope(|| sqlite::query(connection, sql, params, map)),
            WriteConnection::Postgres(connection) => {
                postgres::query(&mut **connection, sql, params, map).instrument(span).await
            }
        }
    }

    /// Runs a statement whose answer has at most one row of interest: the first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails or the row is not as expected.
    pub async fn query_optional<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Option<T>, StorageError> {
        Ok(self.query(sql, params, map).await?.into_iter().next())
    }

    /// Runs a statement and returns how many rows it changed.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64, StorageError> {
        let statement = self.dialect.statement(sql);
        let (sql, span, _timer) = (statement.sql, statement.span(), statement.timer());
        match &mut self.connection {
            WriteConnection::Sqlite(connection) => span.in_scope(|| sqlite::execute(connection, sql, params)),
            WriteConnection::Postgres(connection) => postgres::execute(connection, sql, params).instrument(span).await,
        }
    }
}
