//! Sessions of user-interactive authentication.

use homeserver_core::{Timestamp, UserSn};

use crate::{Database, StorageError, Tx, params};

/// A session of user-interactive authentication.
#[derive(Clone, Debug)]
pub struct UiaSession {
    /// Its secret name.
    pub session_id: String,
    /// What is to be authorised.
    pub operation: String,
    /// Who asks for it.
    pub user_sn: Option<UserSn>,
    /// The user or the address that it counts for.
    pub opener: String,
    /// The stages that were completed, as a JSON list.
    pub completed: String,
    /// What was learned from the stages, as JSON.
    pub details: String,
    /// What is to be done, as far as the requests so far have said it, as JSON.
    pub parameters: String,
    /// What became of the operation, as JSON, if it was done.
    pub outcome: Option<String>,
    /// When it was opened.
    pub created_at: Timestamp,
}

/// What became of an operation that was authorised in a session.
#[derive(Clone, Debug)]
pub struct UiaOutcome {
    /// The session's secret name.
    pub session_id: String,
    /// What was done, as JSON.
    pub parameters: String,
    /// What came of it, as JSON.
    pub outcome: String,
}

impl Database {
    /// A session that was opened after `oldest`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn uia_session(&self, session_id: &str, oldest: Timestamp) -> Result<Option<UiaSession>, StorageError> {
        let sql = "SELECT session_id, operation, user_sn, opener, completed, details, parameters, outcome, created_at \
                   FROM uia_sessions WHERE session_id = $1 AND created_at > $2";
        self.query_optional(sql, params![session_id, oldest], |row| {
            Ok(UiaSession {
                session_id: row.get(0)?,
                operation: row.get(1)?,
                user_sn: row.get(2)?,
                opener: row.get(3)?,
                completed: row.get(4)?,
                details: row.get(5)?,
                parameters: row.get(6)?,
                outcome: row.get(7)?,
                created_at: row.get(8)?,
            })
        })
        .await
    }

    /// Stores a session, or what became of it. Of the sessions of one opener the `most` newest are kept. A session whose operation
    /// was done stays as it is.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn store_uia_session(&self, session: UiaSession, most: i64) -> Result<(), StorageError> {
        let sql = "INSERT INTO uia_sessions \
                   (session_id, operation, user_sn, opener, completed, details, parameters, created_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (session_id) DO UPDATE SET \
                   completed = excluded.completed, details = excluded.details, parameters = excluded.parameters \
                   WHERE uia_sessions.outcome IS NULL";
        let excess = "DELETE FROM uia_sessions WHERE session_id IN (SELECT session_id FROM uia_sessions \
                      WHERE opener = $1 ORDER BY created_at DESC LIMIT 1000 OFFSET $2)";
        self.write(async move |tx| {
            let values = params![
                &session.session_id,
                &session.operation,
                session.user_sn,
                &session.opener,
                &session.completed,
                &session.details,
                &session.parameters,
                session.created_at
            ];
            tx.execute(sql, values).await?;
            tx.execute(excess, params![&session.opener, most]).await.map(drop)
        })
        .await
    }

    /// Uses up something that can be used once, such as a nonce. Returns whether it was not used before. It is remembered until old
    /// sessions are removed.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn use_once(&self, name: String, operation: &'static str, now: Timestamp) -> Result<bool, StorageError> {
        let sql = "INSERT INTO uia_sessions (session_id, operation, completed, details, created_at) \
                   VALUES ($1, $2, '[]', '{}', $3) ON CONFLICT (session_id) DO NOTHING";
        self.write(async move |tx| Ok(tx.execute(sql, params![&name, operation, now]).await? > 0)).await
    }

    /// Ends the sessions that were opened before `oldest`, and of the others all but `most`: first the oldest of the clients
    /// that have opened most.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn prune_uia_sessions(&self, oldest: Timestamp, most: i64) -> Result<(), StorageError> {
        let excess = "DELETE FROM uia_sessions WHERE session_id IN (SELECT session_id FROM (SELECT session_id, created_at, \
                      ROW_NUMBER() OVER (PARTITION BY opener ORDER BY created_at DESC) AS place FROM uia_sessions \
                      WHERE opener <> '') AS ranked ORDER BY place, created_at DESC LIMIT 1000 OFFSET $1)";
        let count = "SELECT COUNT(*) FROM uia_sessions";
        let known = self.query_optional(count, &[], |row| row.get::<i64>(0)).await?;
        let has_excess = known.is_some_and(|known| known > most);
        self.write(async move |tx| {
            tx.execute("DELETE FROM uia_sessions WHERE created_at <= $1", params![oldest]).await?;
            if has_excess {
                tx.execute(excess, params![most]).await?;
            }
            Ok(())
        })
        .await
    }
}

impl Tx {
    /// Whether a session is there whose operation was not done. It stays as it is until the commit.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn lock_uia_session(&mut self, session_id: &str) -> Result<bool, StorageError> {
        // An update locks the row, on both engines, against other nodes.
        let sql = "UPDATE uia_sessions SET outcome = NULL WHERE session_id = $1 AND outcome IS NULL";
        Ok(self.execute(sql, params![session_id]).await? > 0)
    }

    /// Writes down what became of an operation, once. `false` if its session is not there any more, or was used before.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn finish_uia_session(&mut self, done: &UiaOutcome) -> Result<bool, StorageError> {
        let sql = "UPDATE uia_sessions SET parameters = $2, outcome = $3 WHERE session_id = $1 AND outcome IS NULL";
        Ok(self.execute(sql, params![&done.session_id, &done.parameters, &done.outcome]).await? > 0)
    }
}
