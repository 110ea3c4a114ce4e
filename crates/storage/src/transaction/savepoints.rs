//! Places in a transaction to which it can go back.

use super::{Tx, WriteConnection, raw};
use crate::StorageError;
use crate::known_rooms::KnownMark;

/// A place in the transaction to which [`Tx::roll_back_to`] goes back.
pub(crate) struct Savepoint {
    published: usize,
    written_states: usize,
    reserved: std::ops::Range<i64>,
    holds_log: bool,
    known: KnownMark,
}

impl Tx {
    /// Remembers the place in the transaction, so that a write that fails costs no other one.
    pub(crate) async fn savepoint(&mut self) -> Result<Savepoint, StorageError> {
        self.run_raw("SAVEPOINT write_in_batch").await?;
        Ok(Savepoint {
            published: self.published.len(),
            written_states: self.written_states.len(),
            reserved: self.reserved.clone(),
            holds_log: self.holds_log,
            known: self.known.mark(),
        })
    }

    /// What was done since the last savepoint stays.
    pub(crate) async fn release_savepoint(&mut self) -> Result<(), StorageError> {
        self.run_raw("RELEASE SAVEPOINT write_in_batch").await
    }

    /// What was done since the savepoint, which is the last one, has not happened.
    pub(crate) async fn roll_back_to(&mut self, savepoint: Savepoint) -> Result<(), StorageError> {
        self.published.truncate(savepoint.published);
        self.written_states.truncate(savepoint.written_states);
        self.reserved = savepoint.reserved;
        self.holds_log = savepoint.holds_log;
        self.known.roll_back_to(savepoint.known);
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
