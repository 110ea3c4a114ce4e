//! Putting messages into the index, in the background.

use std::sync::Arc;

use homeserver_core::Position;
use storage::{Database, Interned, SearchBlock, StorageError};

use crate::search_index::block::{BlockBuilder, EncodedBlock};
use crate::search_index::{SEARCHED, searched_text, terms_of};

/// Messages of a block.
const BLOCK_MESSAGES: usize = 4_096;
/// So many positions of the log are read at once.
const POSITIONS_AT_ONCE: i64 = 100;
/// A block is closed when its messages have so many terms: it is written in one transaction.
const BLOCK_TERMS: usize = 300_000;
/// So many of the terms of one message are indexed. A message with more terms is found by some of its words only.
const MESSAGE_TERMS: usize = 5_000;
/// A block that is not full is closed when it is about so many positions, so that those behind the last block are never many.
const MAX_BLOCK_POSITIONS: i64 = 100_000;

/// Puts messages into the index of full-text search.
pub struct SearchIndexing {
    database: Database,
    interned: Arc<Interned>,
    block_messages: usize,
}

impl SearchIndexing {
    /// Indexes the messages in `database`.
    #[must_use]
    pub fn new(database: Database, interned: Arc<Interned>) -> Self {
        Self { database, interned, block_messages: BLOCK_MESSAGES }
    }

    /// Makes blocks of so many messages, or a few more.
    #[must_use]
    pub fn with_block_messages(self, block_messages: usize) -> Self {
        Self { block_messages, ..self }
    }

    /// Adds one block behind the last one, and returns its end; `None` if there are too few new messages for one.
    ///
    /// # Errors
    /// [`StorageError`] if messages cannot be read, or the block cannot be written.
    pub async fn next_block(&self) -> Result<Option<Position>, StorageError> {
        let types = searched_types(&self.interned).await?;
        let (after, end) = (self.database.search_indexed_until().await?, self.database.position().await?);
        let mut block = BlockBuilder::default();
        let mut until = after;
        while block.len() < self.block_messages
            && block.terms() < BLOCK_TERMS
            && until.0.saturating_sub(after.0) < MAX_BLOCK_POSITIONS
        {
            if until >= end {
                return Ok(None);
            }
            let at_once = POSITIONS_AT_ONCE.min(i64::try_from(self.block_messages).unwrap_or(i64::MAX));
            let next = Position(until.0.saturating_add(at_once)).min(end);
            for event in self.database.searched_events(&types, until, next).await? {
                if let Some((_, text)) = searched_text(&event.client_json) {
                    block.add(event.room_sn, event.event_sn, terms_of(&text).into_iter().take(MESSAGE_TERMS).collect());
                }
            }
            until = next;
            // A long stretch must not keep requests waiting.
            tokio::task::yield_now().await;
        }
        let EncodedBlock { documents, postings } = block.encode();
        let is_stored = self.database.add_search_block(SearchBlock { after, until, documents, postings }).await?;
        Ok(is_stored.then_some(until))
    }
}

/// The numbers of the types of events in which is searched.
pub(super) async fn searched_types(interned: &Interned) -> Result<Vec<i64>, StorageError> {
    let mut types = Vec::with_capacity(SEARCHED.len());
    for (event_type, _) in SEARCHED {
        types.extend(interned.find_type(event_type).await?.map(|type_sn| type_sn.0));
    }
    Ok(types)
}
