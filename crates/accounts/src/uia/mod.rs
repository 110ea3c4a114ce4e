//! User-interactive authentication: a client proves in stages that the user wants what it asks for.
//!
//! A handler says only which [`Operation`] it is; [`UserInteractiveAuth::flows_for`] knows the stages.
//!
//! Sessions live in the database, so that any node can serve the next stage. A session is bound to the operation, to its asker and to
//! its parameters, which the client need not repeat. It lasts for half an hour; once the operation is done, the same request has the
//! same answer for the rest of that time.
//!
//! Opening a session is limited for each user, and for each address of clients that are not logged in. There are at most
//! [`MAX_SESSIONS`]; beyond that, the askers with the most sessions lose their oldest ones.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api>

mod auth;
mod challenge;
mod mark;
mod operation;
mod parameters;
mod session;
mod stage;
mod trying;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use homeserver_core::Clock;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use storage::{Database, StorageError};

pub use self::auth::{Auth, UserIdentifier};
pub use self::challenge::Challenge;
use self::mark::Marker;
pub use self::operation::Operation;
use self::operation::Request;
pub use self::parameters::{Asked, Finishing, NewPassword, NoParameters, Parameters, unchanged};
pub use self::stage::{Flow, Stage};
use crate::accounts::{AccountError, Accounts, PasswordProof};
use crate::asking::Asker;
use crate::rate_limits::{LimitExceeded, RateLimits};
use crate::registration::{Registration, RegistrationError};
use crate::threepids::ThirdPartyIdentifiers;

/// Sessions at any one time.
pub const MAX_SESSIONS: i64 = 10_000;
/// Sessions of one user or one address at any one time; the oldest make place for new ones.
const MAX_SESSIONS_OF_OPENER: i64 = 1_000;
/// How long a session can be used.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// Sessions between two clean-ups.
const PRUNE_EVERY: u32 = 64;

/// What the stages have shown.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, Debug)]
pub struct Authorisation {
    /// The registration token that was presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_token: Option<String>,
    /// The e-mail address that was confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<ValidatedEmail>,
    /// The password that the requester knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordProof>,
    /// The session, if it is stored.
    #[serde(skip)]
    pub finishing: Option<Finishing>,
}

/// An e-mail address that was confirmed, which can be used once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ValidatedEmail {
    /// The validation session.
    pub session_id: String,
    /// The address in its canonical form.
    pub address: String,
}

/// The operation was authorised.
#[derive(Clone)]
pub struct Authorised<P> {
    /// What is to be done: what this request says, and what the requests before said.
    pub parameters: P,
    /// The password to be set.
    pub new_password: Option<NewPassword>,
    /// What the stages have shown.
    pub authorisation: Authorisation,
}

/// Why an operation is not authorised.
#[derive(Debug, thiserror::Error)]
pub enum UiaError {
    /// There are stages to be completed.
    #[error("more stages have to be completed")]
    Incomplete(Box<Challenge>),
    /// The client proved to be somebody else.
    #[error("You have to prove that you are the user who is logged in")]
    OtherUser,
    /// The request wants something else than the one that opened the session.
    #[error("This asks for something else than the request that began this authentication: begin again")]
    Changed,
    /// Only a user who is logged in can be authorised.
    #[error("Missing access token")]
    LoginRequired,
    /// Nobody can register.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// There were too many sessions, or too many guesses.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// A stage could not be tried.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Authorises operations.
pub struct UserInteractiveAuth {
    database: Database,
    clock: Arc<dyn Clock>,
    accounts: Arc<Accounts>,
    registration: Arc<Registration>,
    threepids: Arc<ThirdPartyIdentifiers>,
    rate_limits: Arc<RateLimits>,
    opened: AtomicU32,
    marker: Marker,
}

impl UserInteractiveAuth {
    /// Sessions in `database`; passwords are those of `accounts`. Which flows there are depends on `registration` and on whether
    /// `threepids` validate addresses. `rate_limits` count new sessions and guesses.
    #[must_use]
    pub fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        accounts: Arc<Accounts>,
        registration: Arc<Registration>,
        threepids: Arc<ThirdPartyIdentifiers>,
        rate_limits: Arc<RateLimits>,
    ) -> Self {
        let (opened, marker) = (AtomicU32::new(0), Marker::new());
        Self { database, clock, accounts, registration, threepids, rate_limits, opened, marker }
    }

    /// What became of the operation if a client repeats the request that completed its session.
    ///
    /// # Errors
    /// [`UiaError`].
    pub async fn outcome<P: Parameters>(
        &self,
        operation: Operation,
        asker: Asker<'_>,
        asked: &Asked<P>,
        auth: Option<&Auth>,
    ) -> Result<Option<Value>, UiaError> {
        let Some(id) = auth.and_then(|auth| auth.session.as_ref()) else { return Ok(None) };
        let Some(session) = self.load::<P>(id, operation, asker).await? else { return Ok(None) };
        let Some(outcome) = session.outcome else { return Ok(None) };
        if !asked.parameters.repeat(&session.remembered.parameters) {
            return Ok(None);
        }
        if let Some(password) = &asked.new_password
            && !self.accounts.is_hash_of(password, session.remembered.password_hash).await?
        {
            return Ok(None);
        }
        Ok(Some(outcome))
    }

    /// Whether what the client sent in `auth`, now and before, authorises the operation.
    ///
    /// # Errors
    /// [`UiaError::Incomplete`] tells the client what to do.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn authorise<P: Parameters>(
        &self,
        operation: Operation,
        asker: Asker<'_>,
        asked: Asked<P>,
        auth: Option<&Auth>,
    ) -> Result<Authorised<P>, UiaError> {
        let flows = self.flows_for(operation, asker.requester()).await?;
        let request = Request { operation, asker, flows: &flows };
        let Asked { parameters, new_password } = asked;
        if let Some(password) = &new_password {
            self.accounts.check_new_password(password).await?;
        }
        let nothing = Auth::default();
        let auth = auth.unwrap_or(&nothing);
        let found = match &auth.session {
            Some(id) => self.load(id, operation, asker).await?.filter(|session| session.outcome.is_none()),
            None => None,
        };
        let mut mistake = (auth.session.is_some() && found.is_none())
            .then_some(("M_UNKNOWN", "This session is not known or has expired: start again"));
        let mut session = found.unwrap_or_else(|| self.new_session());
        let before = std::mem::take(&mut session.remembered.parameters);
        session.remembered.parameters = parameters.complete(before).ok_or(UiaError::Changed)?;
        if mistake.is_none() && auth.stage.is_some() {
            mistake = self.try_stage(&mut session, request, auth).await?;
        }
        let is_done = |flow: &Flow| flow.iter().all(|stage| session.completed.contains(stage));
        if mistake.is_none() && flows.iter().any(is_done) {
            return self.authorised(session, new_password);
        }
        self.count(&session, asker)?;
        if let Some(NewPassword::Plain(password)) = self.known(&session, new_password) {
            session.remembered.password_mark = self.marker.mark(&session.id, &password);
            session.remembered.password_hash = Some(self.accounts.hash(NewPassword::Plain(password)).await?);
        }
        self.store(&session, request).await?;
        Err(UiaError::Incomplete(Box::new(Challenge {
            session: session.id,
            flows,
            completed: session.completed,
            mistake,
        })))
    }

    fn authorised<P: Parameters>(
        &self,
        session: session::Session<P>,
        new_password: Option<String>,
    ) -> Result<Authorised<P>, UiaError> {
        let new_password = self.known(&session, new_password);
        let parameters = session.remembered.parameters;
        let finishing = match session.is_stored {
            true => {
                let parameters = serde_json::to_value(&parameters).map_err(unreadable)?;
                Some(Finishing { session_id: session.id, parameters })
            }
            false => None,
        };
        let authorisation = Authorisation { finishing, ..session.learned };
        Ok(Authorised { parameters, new_password, authorisation })
    }

    /// The password that this request says or an earlier one said; by its hash, if there is one.
    fn known<P>(&self, session: &session::Session<P>, said: Option<String>) -> Option<NewPassword> {
        let remembered = &session.remembered;
        let hashed = remembered.password_hash.clone().map(NewPassword::Hashed);
        let Some(said) = said else { return hashed };
        let mark = self.marker.mark(&session.id, &said);
        if mark.is_some() && mark == remembered.password_mark { hashed } else { Some(NewPassword::Plain(said)) }
    }

    /// Ends the session of an operation that was done, if there is one. To be called where that is not part of what was done.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn finish(&self, finishing: Option<Finishing>) -> Result<(), StorageError> {
        let Some(finishing) = finishing else { return Ok(()) };
        let outcome = finishing.outcome(None, &Value::Object(serde_json::Map::new()))?;
        self.database.write(async move |tx| tx.finish_uia_session(&outcome).await.map(drop)).await
    }
}

fn unreadable(error: serde_json::Error) -> StorageError {
    StorageError::Statement(format!("table uia_sessions: {error}"))
}
