//! A session: how it is loaded, and stored for a client that has to come back.

use std::sync::atomic::Ordering;

use homeserver_core::{Timestamp, UserSn, random_string};
use serde_json::Value;
use storage::{StorageError, UiaSession};

use super::parameters::Remembered;
use super::{
    Authorisation, MAX_AGE, MAX_SESSIONS, MAX_SESSIONS_OF_OPENER, Operation, PRUNE_EVERY, Parameters, Request, Stage,
    UiaError, UserInteractiveAuth, unreadable,
};
use crate::asking::Asker;
use crate::rate_limits::LimitedAction;

/// A session in memory; stored only if the client has to come back.
pub(super) struct Session<P> {
    pub(super) id: String,
    pub(super) is_stored: bool,
    created_at: Timestamp,
    pub(super) completed: Vec<Stage>,
    pub(super) learned: Authorisation,
    pub(super) remembered: Remembered<P>,
    /// What became of the operation, if it was done.
    pub(super) outcome: Option<Value>,
}

impl UserInteractiveAuth {
    pub(super) fn new_session<P: Parameters>(&self) -> Session<P> {
        Session {
            id: random_string(32),
            is_stored: false,
            created_at: self.clock.now(),
            completed: Vec::new(),
            learned: Authorisation::default(),
            remembered: Remembered::default(),
            outcome: None,
        }
    }

    pub(super) async fn load<P: Parameters>(
        &self,
        id: &str,
        operation: Operation,
        asker: Asker<'_>,
    ) -> Result<Option<Session<P>>, StorageError> {
        let stored = self.database.uia_session(id, self.clock.now().minus(MAX_AGE)).await?;
        let is_same = |stored: &UiaSession| stored.operation == operation.as_str() && stored.user_sn == user_sn(asker);
        let Some(stored) = stored.filter(is_same) else { return Ok(None) };
        Ok(Some(Session {
            id: stored.session_id,
            is_stored: true,
            created_at: stored.created_at,
            completed: serde_json::from_str(&stored.completed).map_err(unreadable)?,
            learned: serde_json::from_str(&stored.details).map_err(unreadable)?,
            remembered: serde_json::from_str(&stored.parameters).map_err(unreadable)?,
            outcome: stored.outcome.as_deref().map(serde_json::from_str).transpose().map_err(unreadable)?,
        }))
    }

    /// Stores a session, which counts for its opener when it is new.
    pub(super) async fn store<P: Parameters>(
        &self,
        session: &Session<P>,
        request: Request<'_>,
    ) -> Result<(), UiaError> {
        if !session.is_stored && self.opened.fetch_add(1, Ordering::Relaxed).is_multiple_of(PRUNE_EVERY) {
            self.database.prune_uia_sessions(self.clock.now().minus(MAX_AGE), MAX_SESSIONS).await?;
        }
        let stored = UiaSession {
            session_id: session.id.clone(),
            operation: request.operation.as_str().to_owned(),
            user_sn: user_sn(request.asker),
            opener: request.asker.key().to_string(),
            completed: serde_json::to_string(&session.completed).map_err(unreadable)?,
            details: serde_json::to_string(&session.learned).map_err(unreadable)?,
            parameters: serde_json::to_string(&session.remembered).map_err(unreadable)?,
            outcome: None,
            created_at: session.created_at,
        };
        Ok(self.database.store_uia_session(stored, MAX_SESSIONS_OF_OPENER).await?)
    }

    /// Counts a new session for its opener.
    pub(super) fn count<P>(&self, session: &Session<P>, asker: Asker<'_>) -> Result<(), UiaError> {
        if !session.is_stored {
            self.rate_limits.spend(LimitedAction::InteractiveAuth, asker.key(), asker.requester())?.keep();
        }
        Ok(())
    }
}

fn user_sn(asker: Asker<'_>) -> Option<UserSn> {
    asker.requester().map(|requester| requester.user_sn)
}
