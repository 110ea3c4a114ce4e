//! The index of full-text search: blocks of messages, each with a list of messages for every term.
//!
//! Messages are put into blocks in the background, in the order of the log; what is newer than the last block is looked through. Rows
//! are only ever added behind all others, so indexing writes few pages whatever is indexed already.

use bytes::Bytes;
use database::TableRows;
use homeserver_core::{EventSn, Position, RoomSn, UserSn};

use crate::{Database, Membership, StorageError, params};

/// A block that is to be stored.
#[derive(Clone, Debug)]
pub struct SearchBlock {
    /// The end of the block before.
    pub after: Position,
    /// The position up to which messages are in this block.
    pub until: Position,
    /// The messages.
    pub documents: Vec<u8>,
    /// For each term, the messages that have it.
    pub postings: Vec<(i64, Vec<u8>)>,
}

/// A message, or another event in which is searched.
#[derive(Clone, Debug)]
pub struct SearchedEvent {
    /// Its number.
    pub event_sn: EventSn,
    /// Its room.
    pub room_sn: RoomSn,
    /// What clients see.
    pub client_json: Bytes,
}

const LAST: &str = "SELECT MAX(block_id) FROM search_blocks";

fn read_searched(row: &crate::Row<'_>) -> Result<SearchedEvent, StorageError> {
    Ok(SearchedEvent { event_sn: row.get(0)?, room_sn: row.get(1)?, client_json: row.get(2)? })
}

impl Database {
    /// The position up to which messages are in blocks.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn search_indexed_until(&self) -> Result<Position, StorageError> {
        let last = self.query_optional(LAST, &[], |row| row.get::<Option<Position>>(0)).await?;
        Ok(last.flatten().unwrap_or(Position::START))
    }

    /// The events of some types at positions after `after` and up to `until`, in the order of the log.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn searched_events(
        &self,
        types: &[i64],
        after: Position,
        until: Position,
    ) -> Result<Vec<SearchedEvent>, StorageError> {
        let sql = "SELECT event_sn, room_sn, client_json FROM events WHERE event_sn > $1 AND event_sn <= $2 \
                   AND +type_sn IN LIST($3) AND standing IN (0, 5) ORDER BY event_sn";
        self.query(sql, params![after, until, types], read_searched).await
    }

    /// The same of some rooms, the newest `limit`, the newest first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn newest_searched_events(
        &self,
        types: &[i64],
        rooms: &[i64],
        (after, until): (Position, Position),
        limit: i64,
    ) -> Result<Vec<SearchedEvent>, StorageError> {
        let sql = "SELECT event_sn, room_sn, client_json FROM events WHERE event_sn > $1 AND event_sn <= $2 \
                   AND +type_sn IN LIST($3) AND +room_sn IN LIST($4) AND standing IN (0, 5) \
                   ORDER BY event_sn DESC LIMIT $5";
        self.query(sql, params![after, until, types, rooms, limit], read_searched).await
    }

    /// Stores a block, unless another one was stored behind the one before.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn add_search_block(&self, block: SearchBlock) -> Result<bool, StorageError> {
        self.write(async move |tx| {
            tx.hold_log().await?;
            let last = tx.query_optional(LAST, &[], |row| row.get::<Option<Position>>(0)).await?;
            if last.flatten().unwrap_or(Position::START) != block.after {
                return Ok(false);
            }
            let postings = block.postings.iter();
            let rows = postings.map(|(term, documents)| vec![block.until.into(), (*term).into(), documents.into()]);
            let blocks = vec![vec![block.until.into(), (&block.documents).into()]];
            tx.insert_into_tables(&[
                TableRows { into: "search_blocks (block_id, documents)", rows: blocks },
                TableRows { into: "search_postings (block_id, term, documents)", rows: rows.collect() },
            ])
            .await?;
            Ok(true)
        })
        .await
    }

    /// The newest `limit` blocks of those that begin before a position, the newest first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn search_blocks_before(&self, before: i64, limit: i64) -> Result<Vec<i64>, StorageError> {
        let sql = "SELECT block_id FROM search_blocks WHERE block_id < $1 ORDER BY block_id DESC LIMIT $2";
        self.query(sql, params![before, limit], |row| row.get(0)).await
    }

    /// The first block at or behind a position.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn search_block_at(&self, position: i64) -> Result<Option<i64>, StorageError> {
        let sql = "SELECT block_id FROM search_blocks WHERE block_id >= $1 ORDER BY block_id LIMIT 1";
        self.query_optional(sql, params![position], |row| row.get(0)).await
    }

    /// The lists of some terms in some blocks: block, term, list.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn search_postings(
        &self,
        blocks: &[i64],
        terms: &[i64],
    ) -> Result<Vec<(i64, i64, Vec<u8>)>, StorageError> {
        let sql = "SELECT block_id, term, documents FROM search_postings \
                   WHERE block_id IN LIST($1) AND term IN LIST($2)";
        self.query(sql, params![blocks, terms], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).await
    }

    /// The messages of some blocks.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn search_documents(&self, blocks: &[i64]) -> Result<Vec<(i64, Vec<u8>)>, StorageError> {
        let sql = "SELECT block_id, documents FROM search_blocks WHERE block_id IN LIST($1)";
        self.query(sql, params![blocks], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// The rooms that a user is joined to, with their IDs.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn joined_rooms_with_ids(&self, user_sn: UserSn) -> Result<Vec<(RoomSn, Box<str>)>, StorageError> {
        let sql = "SELECT m.room_sn, r.room_id FROM memberships m JOIN rooms r ON r.room_sn = m.room_sn \
                   WHERE m.user_sn = $1 AND m.membership = $2";
        let joined = crate::membership::code(Membership::Join);
        self.query(sql, params![user_sn, joined], |row| Ok((row.get(0)?, row.get(1)?))).await
    }
}
