//! Points in a transaction to which it can go back.

use super::lifecycle::raw;
use super::positions::PositionsMark;
use super::{Transaction, WriteConnection};
use crate::StorageError;
use crate::domain::{Domain, Memory};

/// A point in the transaction to which [`Transaction::roll_back_to`] goes back.
pub(crate) struct Savepoint<D: Domain> {
    published: usize,
    positions: PositionsMark,
    memory: <D::Memory as Memory>::Mark,
}

impl<D: Domain> Transaction<D> {
    /// Remembers the point that the transaction has reached, so that a write that fails costs no other one.
    pub(crate) async fn savepoint(&mut self) -> Result<Savepoint<D>, StorageError> {
        self.run_raw("SAVEPOINT write_in_batch").await?;
        Ok(Savepoint { published: self.published.len(), positions: self.positions.mark(), memory: self.memory.mark() })
    }

    /// Keeps what was done since the last savepoint.
    pub(crate) async fn release_savepoint(&mut self) -> Result<(), StorageError> {
        self.run_raw("RELEASE SAVEPOINT write_in_batch").await
    }

    /// Undoes what was done since the savepoint, which is the last one.
    pub(crate) async fn roll_back_to(&mut self, savepoint: Savepoint<D>) -> Result<(), StorageError> {
        debug_assert!(savepoint.published <= self.published.len(), "a savepoint of another transaction");
        self.published.truncate(savepoint.published);
        self.positions.roll_back_to(savepoint.positions);
        self.memory.roll_back_to(savepoint.memory);
        self.run_raw("ROLLBACK TO SAVEPOINT write_in_batch").await?;
        self.release_savepoint().await
    }

    async fn run_raw(&mut self, sql: &'static str) -> Result<(), StorageError> {
        match &mut self.connection {
            WriteConnection::Sqlite(_) => self.execute(sql, &[]).await.map(drop),
            WriteConnection::Postgres(connection) => raw(connection, sql).await,
        }
    }
}
