//! Sessions in which a user proves that an e-mail address is theirs.

use homeserver_core::Timestamp;

use crate::tokens::TokenHash;
use crate::{Database, Row, StorageError, Tx, params};

/// An attempt to prove that an address is one's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValidationSession {
    /// The name by which client and server speak of it.
    pub session_id: String,
    /// What the proof is good for.
    pub purpose: String,
    /// The address in its canonical form.
    pub address: String,
    /// The number of the last mail that the client asked for.
    pub send_attempt: i64,
    /// Where to go after the confirmation.
    pub next_link: Option<String>,
    /// When the address was confirmed, if it was.
    pub validated_at: Option<Timestamp>,
}

/// A mail to be sent for a session.
#[derive(Clone, Debug)]
pub struct ValidationRequest {
    /// The name of the session, if it is a new one.
    pub session_id: String,
    /// What the proof will be good for.
    pub purpose: &'static str,
    /// The address in its canonical form.
    pub address: String,
    /// The hash of the client's secret.
    pub client_secret_hash: TokenHash,
    /// The number of the mail.
    pub send_attempt: i64,
    /// Where to go after the confirmation.
    pub next_link: Option<String>,
    /// The time now.
    pub now: Timestamp,
    /// Until when the session can be used.
    pub expires_at: Timestamp,
}

const BY_SECRET: &str = "SELECT session_id, purpose, address, send_attempt, next_link, validated_at \
                         FROM threepid_validation_sessions \
                         WHERE purpose = $1 AND address = $2 AND client_secret_hash = $3 AND expires_at > $4";
macro_rules! by_id {
    ($lock:literal) => {
        concat!(
            "SELECT session_id, purpose, address, send_attempt, next_link, validated_at ",
            "FROM threepid_validation_sessions WHERE session_id = $1 AND expires_at > $2",
            $lock
        )
    };
}

const BY_ID: &str = by_id!("");
/// For a change: no other process uses the session before the commit.
const BY_ID_LOCKED: &str = by_id!(" FOR_UPDATE");
const BY_PROOF: &str = "SELECT session_id, purpose, address, send_attempt, next_link, validated_at \
                        FROM threepid_validation_sessions WHERE session_id = $1 AND client_secret_hash = $2 \
                        AND purpose = $3 AND expires_at > $4";
const HAS_TOKEN: &str = "SELECT 1 FROM threepid_validation_tokens WHERE session_id = $1 AND token_hash = $2";

fn read_session(row: &Row<'_>) -> Result<ValidationSession, StorageError> {
    Ok(ValidationSession {
        session_id: row.get(0)?,
        purpose: row.get(1)?,
        address: row.get(2)?,
        send_attempt: row.get(3)?,
        next_link: row.get(4)?,
        validated_at: row.get(5)?,
    })
}

impl Database {
    /// A session that can still be used.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn validation_session(
        &self,
        session_id: &str,
        now: Timestamp,
    ) -> Result<Option<ValidationSession>, StorageError> {
        self.query_optional(BY_ID, params![session_id, now], read_session).await
    }

    /// A session for this purpose that can still be used, if the secret is right.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn validation_session_by_secret(
        &self,
        session_id: &str,
        client_secret_hash: TokenHash,
        purpose: &str,
        now: Timestamp,
    ) -> Result<Option<ValidationSession>, StorageError> {
        let values = params![session_id, &client_secret_hash[..], purpose, now];
        self.query_optional(BY_PROOF, values, read_session).await
    }

    /// Whether this token was sent for the session.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn has_validation_token(&self, session_id: &str, token: TokenHash) -> Result<bool, StorageError> {
        Ok(self.query_optional(HAS_TOKEN, params![session_id, &token[..]], |_| Ok(())).await?.is_some())
    }

    /// Keeps the token of a mail that is about to be sent. `None` if the session cannot be used any more, or needs no mail.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn add_validation_token(
        &self,
        session_id: String,
        token: TokenHash,
        now: Timestamp,
    ) -> Result<Option<ValidationSession>, StorageError> {
        let sql = "INSERT INTO threepid_validation_tokens (token_hash, session_id) VALUES ($1, $2)";
        self.write(async move |tx| {
            let session = tx.query_optional(BY_ID_LOCKED, params![&session_id, now], read_session).await?;
            let session = session.filter(|session| session.validated_at.is_none());
            if session.is_some() {
                tx.execute(sql, params![&token[..], &session_id]).await?;
            }
            Ok(session)
        })
        .await
    }

    /// Counts a token that was not sent for the session; the session ends when there were `most`.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn count_wrong_token(&self, session_id: String, most: i64) -> Result<(), StorageError> {
        let sql = "UPDATE threepid_validation_sessions SET wrong_tokens = wrong_tokens + 1 WHERE session_id = $1 \
                   RETURNING wrong_tokens";
        self.write(async move |tx| {
            let count: Option<i64> = tx.query_optional(sql, params![&session_id], |row| row.get(0)).await?;
            if count.is_some_and(|count| count >= most) {
                tx.end_validation_session(&session_id).await?;
            }
            Ok(())
        })
        .await
    }

    /// Removes the sessions that expired before `now`, and of the others all but the `most` newest. Returns how many.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn prune_validation_sessions(&self, now: Timestamp, most: i64) -> Result<u64, StorageError> {
        let expired = "DELETE FROM threepid_validation_sessions WHERE expires_at <= $1";
        let excess = "DELETE FROM threepid_validation_sessions WHERE session_id IN (SELECT session_id \
                      FROM threepid_validation_sessions ORDER BY expires_at DESC LIMIT 1000 OFFSET $1)";
        let tokens = "DELETE FROM threepid_validation_tokens WHERE NOT EXISTS (SELECT 1 \
                      FROM threepid_validation_sessions s WHERE s.session_id = threepid_validation_tokens.session_id)";
        self.write(async move |tx| {
            let removed = tx.execute(expired, params![now]).await? + tx.execute(excess, params![most]).await?;
            tx.execute(tokens, &[]).await?;
            Ok(removed)
        })
        .await
    }
}

impl Tx {
    /// The session that a client began for this purpose and address with this secret, if it can still be used.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn begun_validation(
        &mut self,
        request: &ValidationRequest,
    ) -> Result<Option<ValidationSession>, StorageError> {
        // What follows counts the mails to an address, of all its sessions.
        self.hold_log().await?;
        let ValidationRequest { purpose, address, client_secret_hash, now, .. } = request;
        let values = params![*purpose, address, &client_secret_hash[..], *now];
        self.query_optional(BY_SECRET, values, read_session).await
    }

    /// How many mails to the address were scheduled by sessions that have not expired.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn validation_mails(&mut self, address: &str, now: Timestamp) -> Result<i64, StorageError> {
        let sql = "SELECT CAST(COALESCE(SUM(mails), 0) AS BIGINT) FROM threepid_validation_sessions \
                   WHERE address = $1 AND expires_at > $2";
        Ok(self.query_optional(sql, params![address, now], |row| row.get(0)).await?.unwrap_or(0))
    }

    /// Begins a session, or stores that one more mail is to be sent for it. Returns its name.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn store_validation(&mut self, request: &ValidationRequest) -> Result<String, StorageError> {
        // What has expired must not come back to life, with the tokens that were sent for it.
        let find = "SELECT session_id FROM threepid_validation_sessions \
                    WHERE purpose = $1 AND address = $2 AND client_secret_hash = $3 AND expires_at <= $4";
        let sql = "INSERT INTO threepid_validation_sessions (session_id, purpose, address, client_secret_hash, \
                   send_attempt, next_link, mails, wrong_tokens, expires_at) VALUES ($1, $2, $3, $4, $5, $6, 1, 0, $7) \
                   ON CONFLICT (purpose, address, client_secret_hash) DO UPDATE SET send_attempt = excluded.send_attempt, \
                   next_link = excluded.next_link, mails = threepid_validation_sessions.mails + 1, \
                   expires_at = excluded.expires_at RETURNING session_id";
        let hash = &request.client_secret_hash[..];
        let key = params![request.purpose, &request.address, hash, request.now];
        let expired: Option<String> = self.query_optional(find, key, |row| row.get(0)).await?;
        if let Some(expired) = expired {
            self.end_validation_session(&expired).await?;
        }
        let values = params![
            &request.session_id,
            request.purpose,
            &request.address,
            hash,
            request.send_attempt,
            &request.next_link,
            request.expires_at
        ];
        let session_id = self.query_optional(sql, values, |row| row.get(0)).await?;
        session_id.ok_or_else(|| StorageError::Statement("a validation session was not stored".to_owned()))
    }

    /// Writes down that the address of a session was confirmed with this token. `None` if the token was not sent for the
    /// session, or the session cannot be used any more.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn confirm_validation(
        &mut self,
        session_id: &str,
        token: TokenHash,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Option<ValidationSession>, StorageError> {
        if self.query_optional(HAS_TOKEN, params![session_id, &token[..]], |_| Ok(())).await?.is_none() {
            return Ok(None);
        }
        // A second click changes nothing, and does not lengthen the session's life.
        let sql = "UPDATE threepid_validation_sessions SET validated_at = $2, expires_at = $3 \
                   WHERE session_id = $1 AND expires_at > $2 AND validated_at IS NULL";
        self.execute(sql, params![session_id, now, expires_at]).await?;
        self.query_optional(BY_ID, params![session_id, now], read_session).await
    }

    /// Uses up a session whose address was confirmed. `None` if there is none for this purpose: another request was faster.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn take_validation(
        &mut self,
        session_id: &str,
        purpose: &str,
        now: Timestamp,
    ) -> Result<Option<ValidationSession>, StorageError> {
        let session = self.query_optional(BY_ID_LOCKED, params![session_id, now], read_session).await?;
        let Some(session) = session.filter(|it| it.purpose == purpose && it.validated_at.is_some()) else {
            return Ok(None);
        };
        Ok(self.end_validation_session(session_id).await?.then_some(session))
    }

    /// Removes a session. Returns whether there was one.
    async fn end_validation_session(&mut self, session_id: &str) -> Result<bool, StorageError> {
        let sql = "DELETE FROM threepid_validation_tokens WHERE session_id = $1";
        self.execute(sql, params![session_id]).await?;
        let sql = "DELETE FROM threepid_validation_sessions WHERE session_id = $1";
        Ok(self.execute(sql, params![session_id]).await? > 0)
    }
}
