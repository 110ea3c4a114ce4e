//! Following the link of a mail.

use homeserver_core::Timestamp;
use storage::{StorageError, ValidationSession};

use super::{MAX_WRONG_TOKENS, SESSION_AGE, ThirdPartyIdentifiers, token_hash};

/// What the link of a mail is good for at the moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// Its reader can confirm.
    Open(ValidationSession),
    /// Its reader has confirmed.
    Confirmed(ValidationSession),
    /// Nothing: it expired, or its session was used, or it was never sent.
    Invalid,
}

impl ThirdPartyIdentifiers {
    /// What the link of a mail is good for. Changes nothing, because mail programs look at links, too.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn link_state(&self, session_id: &str, token: &str) -> Result<LinkState, StorageError> {
        let now = self.clock.now();
        let Some(session) = self.database.validation_session(session_id, now).await? else {
            return Ok(LinkState::Invalid);
        };
        if !self.database.has_validation_token(session_id, token_hash(token)).await? {
            self.database.count_wrong_token(session_id.to_owned(), MAX_WRONG_TOKENS).await?;
            return Ok(LinkState::Invalid);
        }
        Ok(state(session))
    }

    /// Confirms the address of a session.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn confirm(&self, session_id: &str, token: &str) -> Result<LinkState, StorageError> {
        if self.link_state(session_id, token).await? == LinkState::Invalid {
            return Ok(LinkState::Invalid);
        }
        let (now, hash, session_id): (Timestamp, _, _) = (self.clock.now(), token_hash(token), session_id.to_owned());
        let expires_at = now.plus(SESSION_AGE);
        let confirm =
            self.database.write(async move |tx| tx.confirm_validation(&session_id, hash, now, expires_at).await);
        Ok(confirm.await?.map_or(LinkState::Invalid, state))
    }
}

fn state(session: ValidationSession) -> LinkState {
    if session.validated_at.is_some() { LinkState::Confirmed(session) } else { LinkState::Open(session) }
}
