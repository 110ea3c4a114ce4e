//! A transaction with the homeserver's statements.

mod locks;
mod memory;

use database::{Row, StorageError, TableRows, Transaction, Value};
use homeserver_core::Position;

use crate::homeserver::Homeserver;
use crate::{Engine, LogEntry};

/// The transaction of a batch of writes. What is given to [`Tx::publish`] becomes visible if, and only if, it commits.
///
/// It is a [`database::Transaction`]; the modules of this crate give it the statements of their tables.
pub struct Tx(Transaction<Homeserver>);

impl From<Transaction<Homeserver>> for Tx {
    fn from(transaction: Transaction<Homeserver>) -> Self {
        Self(transaction)
    }
}

impl From<Tx> for Transaction<Homeserver> {
    fn from(tx: Tx) -> Self {
        tx.0
    }
}

impl AsMut<Transaction<Homeserver>> for Tx {
    fn as_mut(&mut self) -> &mut Transaction<Homeserver> {
        &mut self.0
    }
}

impl Tx {
    pub(crate) fn engine(&self) -> Engine {
        self.0.engine()
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
        self.0.query(sql, params, map).await
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
        self.0.query_optional(sql, params, map).await
    }

    /// Runs a statement and returns how many rows it changed.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64, StorageError> {
        self.0.execute(sql, params).await
    }

    /// Inserts all rows: one statement on PostgreSQL, one prepared statement on SQLite. `into` is a literal such as
    /// `"users (user_id) ON CONFLICT DO NOTHING"`. All values of a column have the same type.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn insert_all(&mut self, into: &'static str, rows: &[Vec<Value<'_>>]) -> Result<(), StorageError> {
        self.0.insert_all(into, rows).await
    }

    /// As [`database::Transaction::query_rows`].
    pub(crate) async fn query_rows<T>(
        &mut self,
        sql: &'static str,
        rows: &[Vec<Value<'_>>],
        map: impl FnMut(&Row<'_>) -> Result<T, StorageError>,
    ) -> Result<Vec<T>, StorageError> {
        self.0.query_rows(sql, rows, map).await
    }

    /// As [`Tx::query_rows`], for a statement without an answer.
    pub(crate) async fn execute_rows(
        &mut self,
        sql: &'static str,
        rows: &[Vec<Value<'_>>],
    ) -> Result<(), StorageError> {
        self.0.query_rows(sql, rows, |_| Ok(())).await.map(drop)
    }

    /// As [`database::Transaction::insert_into_tables`].
    pub(crate) async fn insert_into_tables(&mut self, tables: &[TableRows<'_>]) -> Result<(), StorageError> {
        self.0.insert_into_tables(tables).await
    }

    /// The next position in the log. Positions become visible in order, when the transaction commits.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn next_position(&mut self) -> Result<Position, StorageError> {
        self.0.next_position().await
    }

    /// Takes `count` positions at once for the calls of [`Tx::next_position`] that follow.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn reserve_positions(&mut self, count: i64) -> Result<(), StorageError> {
        self.0.reserve_positions(count).await
    }

    /// The last position that this transaction has taken.
    pub(crate) fn last_reserved(&self) -> Position {
        self.0.last_reserved()
    }

    /// Tells the observers of the log of `entry`, once the transaction has committed.
    pub fn publish(&mut self, entry: LogEntry) {
        self.0.publish(entry);
    }

    /// As [`database::Transaction::lock_log`].
    pub(crate) async fn lock_log(&mut self) -> Result<Position, StorageError> {
        self.0.lock_log().await
    }

    /// As [`database::Transaction::hold_log`].
    pub(crate) async fn hold_log(&mut self) -> Result<(), StorageError> {
        self.0.hold_log().await
    }
}
