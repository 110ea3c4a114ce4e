//! The homeserver as the engines see it.

use std::sync::Arc;

use database::{Domain, Repetitions, Schema};
use tokio::sync::watch;

use crate::append::{self, Append, AppendOutcome};
use crate::frequent::{self, Frequent};
use crate::known_rooms::WriterShare;
use crate::migrations::{LAST_OF_ONE_SERVER, MIGRATIONS};
use crate::state_chunks::ChunkCache;
use crate::writer_memory::WriterMemory;
use crate::{LogEntry, StorageError, Tx};

/// The domain of this crate's statements.
pub(crate) struct Homeserver {
    pub(crate) chunks: Arc<ChunkCache>,
    pub(crate) share: Arc<WriterShare>,
    pub(crate) job_bell: watch::Sender<()>,
}

impl Domain for Homeserver {
    const SCHEMA: Schema = Schema { migrations: MIGRATIONS, last_of_one_server: LAST_OF_ONE_SERVER };

    type Entry = LogEntry;
    type Memory = WriterMemory;
    type Tx = Tx;
    type Append = Append;
    type AppendOutcome = AppendOutcome;
    type Frequent = Frequent;

    fn memory(&self) -> WriterMemory {
        WriterMemory::new(self.share.clone(), self.chunks.clone(), self.job_bell.clone())
    }

    fn positions_of_append(append: &Append) -> i64 {
        append.positions()
    }

    fn positions_of_frequent(write: &Frequent) -> Option<i64> {
        write.positions()
    }

    async fn append_all(
        tx: &mut Tx,
        appends: &[&Append],
        repetitions: Repetitions,
    ) -> Result<Vec<AppendOutcome>, StorageError> {
        append::append_all(tx, appends, repetitions).await
    }

    async fn write_frequent<'w>(tx: &mut Tx, writes: impl Iterator<Item = &'w Frequent>) -> Result<(), StorageError> {
        frequent::write_all(tx, writes).await
    }
}
