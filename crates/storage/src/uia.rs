//! Sessions of user-interactive authentication.

use homeserver_core::{Timestamp, UserSn};

use crate::{Database, StorageError, params};

/// A session of user-interactive authentication.
#[derive(Clone, Debug)]
pub struct UiaSession {
    /// Its secret name.
    pub session_id: String,
    /// What is to be authorised.
    pub operation: String,
    /// Who asks for it.
    pub user_sn: Option<UserSn>,
    /// The stages that were completed, as a JSON list.
    pub completed: String,
    /// What was learned from the stages, as JSON.
    pub details: String,
    /// When it was opened.
    pub created_at: Timestamp,
}

impl Database {
    /// A session that was opened after `oldest`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn uia_session(&self, session_id: &str, oldest: Timestamp) -> Result<Option<UiaSession>, StorageError> {
        let sql = "SELECT session_id, operation, user_sn, completed, details, created_at FROM uia_sessions \
                   WHERE session_id = $1 AND created_at > $2";
        self.query_optional(sql, params![session_id, oldest], |row| {
            Ok(UiaSession {
                session_id: row.get(0)?,
                operation: row.get(1)?,
                user_sn: row.get(2)?,
                completed: row.get(3)?,
                details: row.get(4)?,
                created_at: row.get(5)?,
            })
        })
        .await
    }

    /// Stores a session, or what became of it.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn store_uia_session(&self, session: UiaSession) -> Result<(), StorageError> {
        let sql = "INSERT INTO uia_sessions (session_id, operation, user_sn, completed, details, created_at) \
                   VALUES ($1, $2, $3, $4, $5, $6) \
                   ON CONFLICT (session_id) DO UPDATE SET completed = excluded.completed, details = excluded.details";
        self.write(async move |tx| {
            let values = params![
                &session.session_id,
                &session.operation,
                session.user_sn,
                &session.completed,
                &session.details,
                session.created_at
            ];
            tx.execute(sql, values).await.map(drop)
        })
        .await
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn delete_uia_session(&self, session_id: String) -> Result<(), StorageError> {
        let sql = "DELETE FROM uia_sessions WHERE session_id = $1";
        self.write(async move |tx| tx.execute(sql, params![&session_id]).await.map(drop)).await
    }

    /// Ends a session of an operation, if it was opened after `oldest`. Tells whether there was one.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn take_uia_session(
        &self,
        session_id: String,
        operation: &'static str,
        oldest: Timestamp,
    ) -> Result<bool, StorageError> {
        let sql = "DELETE FROM uia_sessions WHERE session_id = $1 AND operation = $2 AND created_at > $3";
        self.write(async move |tx| Ok(tx.execute(sql, params![&session_id, operation, oldest]).await? > 0)).await
    }

    /// Ends the sessions that were opened before `oldest`, and of the others all but the `most` newest.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn prune_uia_sessions(&self, oldest: Timestamp, most: i64) -> Result<(), StorageError> {
        let excess = "DELETE FROM uia_sessions WHERE session_id IN \
                      (SELECT session_id FROM uia_sessions ORDER BY created_at DESC LIMIT 1000 OFFSET $1)";
        self.write(async move |tx| {
            tx.execute("DELETE FROM uia_sessions WHERE created_at <= $1", params![oldest]).await?;
            tx.execute(excess, params![most]).await.map(drop)
        })
        .await
    }
}
