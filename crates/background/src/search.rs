//! Indexing messages for full-text search.

use std::sync::Arc;

use rooms::reading::SearchIndexing;
use serde::{Deserialize, Serialize};
use storage::{Database, Interned};
use tasks::queue::{Handle, Job, JobError, Priority, Run};

use crate::REST;

/// Puts new messages into the index of full-text search. Until then searches look through them.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub struct IndexMessages {}

impl Job for IndexMessages {
    const NAME: &str = "index_messages";
    const PRIORITY: Priority = Priority::Background;
    const IS_INTERRUPTIBLE: bool = true;
}

/// Indexes messages block by block. After an interruption it goes on behind the last block.
pub struct MessageIndexing {
    indexing: SearchIndexing,
}

impl MessageIndexing {
    /// Indexes the messages in `database`.
    #[must_use]
    pub fn new(database: Database, interned: Arc<Interned>) -> Self {
        Self { indexing: SearchIndexing::new(database, interned) }
    }
}

impl Handle<IndexMessages> for MessageIndexing {
    async fn run(&self, _: IndexMessages, run: &Run) -> Result<(), JobError> {
        while let Some(until) = self.indexing.next_block().await? {
            run.progress(0, 0, format!("The messages up to position {until} are indexed")).await;
            tokio::time::sleep(REST).await;
        }
        Ok(())
    }
}
