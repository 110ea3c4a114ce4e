//! Removing chunks of rooms' states that nothing refers to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use storage::{ChunkCollector, Database};
use tasks::queue::{Handle, Job, JobError, Priority, Run};

/// Removes chunks of states that nothing refers to.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub struct CollectStateChunks {}

impl Job for CollectStateChunks {
    const NAME: &str = "collect_state_chunks";
    const PRIORITY: Priority = Priority::Background;
    const IS_INTERRUPTIBLE: bool = true;
}

/// Counts removed chunks, for the metrics.
pub trait ChunkObserver: Send + Sync {
    /// Chunks with this number of bytes together were removed.
    fn chunks_removed(&self, chunks: u64, bytes: u64);
}

/// Removes chunks. The work can be dropped at any time.
pub struct ChunkRemoval {
    database: Database,
    observer: Arc<dyn ChunkObserver>,
}

impl ChunkRemoval {
    /// Removes chunks from `database`, and counts them with `observer`.
    #[must_use]
    pub fn new(database: Database, observer: Arc<dyn ChunkObserver>) -> Self {
        Self { database, observer }
    }
}

impl Handle<CollectStateChunks> for ChunkRemoval {
    async fn run(&self, _: CollectStateChunks, run: &Run) -> Result<(), JobError> {
        run.progress(0, 0, "Looking for chunks of states that nothing refers to").await;
        let collected = ChunkCollector::new(self.database.clone()).run().await?;
        self.observer.chunks_removed(collected.chunks, collected.bytes);
        let (removed, bytes, kept) = (collected.chunks, collected.bytes, collected.kept);
        tracing::info!(removed, bytes, kept, "removed chunks of states that nothing refers to");
        run.progress(removed, 0, format!("Removed chunks of {bytes} bytes together, kept {kept}")).await;
        Ok(())
    }
}
