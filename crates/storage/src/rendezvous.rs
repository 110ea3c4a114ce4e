//! Places where two clients meet before they can trust each other: each has one payload, which both overwrite.

use bytes::Bytes;
use homeserver_core::Timestamp;

use crate::{Database, Row, StorageError, params};

/// A place where two clients meet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RendezvousSession {
    /// Its ID, which nobody guesses.
    pub session_id: String,
    /// Another one with every payload.
    pub version: String,
    /// What was written last.
    pub payload: Bytes,
    /// When it was written.
    pub written_at: Timestamp,
    /// When the session ends.
    pub expires_at: Timestamp,
}

/// What became of a new payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RendezvousWrite {
    /// It was written.
    Written(RendezvousSession),
    /// Another payload was written meanwhile, and stays.
    Conflict(RendezvousSession),
    /// There is no such session, or not any more.
    NoSession,
}

fn read_session(row: &Row<'_>) -> Result<RendezvousSession, StorageError> {
    Ok(RendezvousSession {
        session_id: row.get(0)?,
        version: row.get(1)?,
        payload: row.get(2)?,
        written_at: row.get(3)?,
        expires_at: row.get(4)?,
    })
}

const SESSION: &str = "SELECT session_id, version, payload, written_at, expires_at FROM rendezvous_sessions \
                       WHERE session_id = $1 AND expires_at > $2";

impl Database {
    /// Opens a session for a client at an address, and removes some that have ended. `false` if `most_of_opener` sessions from that address
    /// are open, or `most` of all.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn open_rendezvous(
        &self,
        session: RendezvousSession,
        opened_by: String,
        most_of_opener: i64,
        most: i64,
    ) -> Result<bool, StorageError> {
        let expired = "DELETE FROM rendezvous_sessions WHERE session_id IN (SELECT session_id FROM rendezvous_sessions \
                       WHERE expires_at <= $1 ORDER BY expires_at LIMIT 1000)";
        let of_opener = "SELECT COUNT(*) FROM (SELECT 1 FROM rendezvous_sessions \
                         WHERE opened_by = $1 AND expires_at > $2 LIMIT $3) counted";
        let of_all = "SELECT COUNT(*) FROM (SELECT 1 FROM rendezvous_sessions WHERE expires_at > $1 LIMIT $2) counted";
        let insert = "INSERT INTO rendezvous_sessions \
                      (session_id, version, payload, opened_by, written_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
        self.write(async move |tx| {
            let RendezvousSession { session_id, version, payload, written_at, expires_at } = &session;
            tx.execute(expired, params![*written_at]).await?;
            let values = params![&opened_by, *written_at, most_of_opener];
            let opened = tx.query_optional(of_opener, values, |row| row.get::<i64>(0)).await?;
            let all = tx.query_optional(of_all, params![*written_at, most], |row| row.get::<i64>(0)).await?;
            if opened.is_some_and(|count| count >= most_of_opener) || all.is_some_and(|count| count >= most) {
                return Ok(false);
            }
            let values = params![session_id, version, payload, &opened_by, *written_at, *expires_at];
            Ok(tx.execute(insert, values).await? > 0)
        })
        .await
    }

    /// A session that has not ended.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn rendezvous(
        &self,
        session_id: &str,
        now: Timestamp,
    ) -> Result<Option<RendezvousSession>, StorageError> {
        self.query_optional(SESSION, params![session_id, now], read_session).await
    }

    /// Replaces the payload of a session, if its version is `known_version`.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn write_rendezvous(
        &self,
        session_id: String,
        known_version: String,
        new_version: String,
        payload: Bytes,
        now: Timestamp,
    ) -> Result<RendezvousWrite, StorageError> {
        let sql = "UPDATE rendezvous_sessions SET version = $4, payload = $5, written_at = $2 \
                   WHERE session_id = $1 AND expires_at > $2 AND version = $3 \
                   RETURNING session_id, version, payload, written_at, expires_at";
        self.write(async move |tx| {
            let values = params![&session_id, now, &known_version, &new_version, &payload];
            if let Some(written) = tx.query_optional(sql, values, read_session).await? {
                return Ok(RendezvousWrite::Written(written));
            }
            let found = tx.query_optional(SESSION, params![&session_id, now], read_session).await?;
            Ok(found.map_or(RendezvousWrite::NoSession, RendezvousWrite::Conflict))
        })
        .await
    }

    /// Ends a session. Returns whether there was one.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn close_rendezvous(&self, session_id: String, now: Timestamp) -> Result<bool, StorageError> {
        let sql = "DELETE FROM rendezvous_sessions WHERE session_id = $1 AND expires_at > $2";
        self.write(async move |tx| Ok(tx.execute(sql, params![&session_id, now]).await? > 0)).await
    }
}
