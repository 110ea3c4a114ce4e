//! From the beginning of a transaction to its end.

use homeserver_core::Position;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};

use super::{Transaction, WriteConnection};
use crate::StorageError;
use crate::domain::{Domain, Entry as _, Memory as _};
use crate::log::{LogBatch, LogRow};

impl<D: Domain> Transaction<D> {
    /// Begins, and reserves `positions` of the log, if it says how many: on PostgreSQL both in one round trip. To reserve none locks
    /// the log all the same.
    pub(crate) async fn begin(&mut self, positions: Option<i64>) -> Result<(), StorageError> {
        self.published.clear();
        self.positions.begin();
        self.memory.begin();
        match &mut self.connection {
            WriteConnection::Sqlite(_) => self.execute("BEGIN IMMEDIATE", &[]).await.map(drop),
            WriteConnection::Postgres(connection) => {
                let Some(positions) = positions else { return raw(connection, "BEGIN").await };
                let begin = format!("BEGIN; UPDATE log_head SET position = position + {positions} RETURNING position");
                let row = connection.fetch_one(sqlx::raw_sql(sqlx::AssertSqlSafe(begin))).await?;
                let last: i64 = row.try_get(0)?;
                self.has_reserved(last, positions);
                Ok(())
            }
        }
    }

    /// What the transaction adds to the log, in the order of positions; `None` if it has taken no position and published nothing.
    pub(crate) fn log_batch(&mut self) -> Option<LogBatch<D::Entry>> {
        let mut entries = std::mem::take(&mut self.published);
        entries.sort_by_key(D::Entry::position);
        let published = || entries.last().map(|last| (last.position().0, last.position().0));
        let (before, last) = self.positions.taken().or_else(published)?;
        Some(LogBatch::new(Position(before), Position(last), entries))
    }

    /// Commits, and writes down `row` with that, if this process does so: on PostgreSQL both in one round trip.
    pub(crate) async fn commit(&mut self, row: Option<&LogRow>) -> Result<(), StorageError> {
        match &mut self.connection {
            WriteConnection::Sqlite(_) => {
                if let Some(row) = row {
                    self.execute(LogRow::INSERT, &row.values()).await?;
                }
                self.execute("COMMIT", &[]).await?;
            }
            WriteConnection::Postgres(connection) => match row {
                Some(row) => {
                    let commit = sqlx::AssertSqlSafe(format!("{}; COMMIT", row.insertion()));
                    connection.execute(sqlx::raw_sql(commit)).await?;
                }
                None => raw(connection, "COMMIT").await?,
            },
        }
        self.memory.has_committed();
        Ok(())
    }

    /// Ends the connection in an orderly way, if it has not ended already.
    pub(crate) async fn close(self) {
        if let WriteConnection::Postgres(connection) = self.connection
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "the writer's connection was already closed");
        }
    }

    /// Undoes everything that was done since the beginning.
    pub(crate) async fn rollback(&mut self) -> Result<(), StorageError> {
        self.published.clear();
        self.positions.roll_back();
        self.memory.roll_back();
        match &mut self.connection {
            WriteConnection::Sqlite(connection) if connection.is_autocommit() => Ok(()),
            WriteConnection::Sqlite(_) => self.execute("ROLLBACK", &[]).await.map(drop),
            WriteConnection::Postgres(connection) => raw(connection, "ROLLBACK").await,
        }
    }
}

/// Runs a statement without preparing it.
pub(super) async fn raw(connection: &mut PgConnection, sql: &'static str) -> Result<(), StorageError> {
    connection.execute(sqlx::raw_sql(sql)).await?;
    Ok(())
}
