//! User-interactive authentication: a client proves in stages that the user wants what it asks for.
//!
//! Sessions live in the database, so that any node can serve the next stage. They are bound to the operation and to who
//! asked for it, they end when the operation is authorised or after half an hour, and there are at most [`MAX_SESSIONS`].
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api>

mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use homeserver_core::{Clock, Timestamp, UserSn, random_string};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use storage::{Database, StorageError, UiaSession};

pub use self::stage::{Flow, Stage};
use crate::accounts::{AccountError, Accounts};
use crate::object::Object;
use crate::sessions::Requester;
use crate::threepids::{EMAIL, Purpose, validated_email};

/// Sessions at any one time; the oldest make place for new ones.
pub const MAX_SESSIONS: i64 = 10_000;
/// How long a session can be used.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// Sessions between two clean-ups.
const PRUNE_EVERY: u32 = 64;

/// The key `auth` of a request.
#[derive(Clone, Default, Deserialize)]
pub struct Auth {
    /// The stage that the client wants to complete, by its name in the specification.
    #[serde(rename = "type", default)]
    stage: Option<String>,
    #[serde(default)]
    session: Option<String>,
    #[serde(default)]
    identifier: Option<Object<UserIdentifier>>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    threepid_creds: Option<Object<ThreepidCredentials>>,
    /// The same, as clients called it before the specification had it.
    #[serde(default, rename = "threepidCreds")]
    old_threepid_creds: Option<Object<ThreepidCredentials>>,
}

/// Names a validation session, and proves that it is the client's own. An identity server that a client names as well does
/// not matter: this server validates addresses itself.
#[derive(Clone, Deserialize)]
struct ThreepidCredentials {
    sid: String,
    client_secret: String,
}

/// Who a client says the user is.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#identifier-types>
#[derive(Clone, Deserialize, Debug)]
pub struct UserIdentifier {
    /// `m.id.user`, `m.id.thirdparty`, or a type that this server does not know.
    #[serde(rename = "type")]
    pub kind: String,
    /// The user's ID or its localpart.
    #[serde(default)]
    pub user: Option<String>,
    /// Of a third-party identifier: what kind of address it is.
    #[serde(default)]
    pub medium: Option<String>,
    /// Of a third-party identifier: the address.
    #[serde(default)]
    pub address: Option<String>,
}

/// What is to be authorised.
#[derive(Clone, Copy)]
pub struct Operation<'a> {
    /// Names what is to be done, and to what.
    pub name: &'a str,
    /// Who asks for it; nobody who wants to register has a name yet.
    pub requester: Option<&'a Requester>,
    /// The ways to authorise it.
    pub flows: &'a [Flow],
}

/// The operation was authorised.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Authorisation {
    /// The registration token that was presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_token: Option<String>,
    /// The e-mail address that was confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<ValidatedEmail>,
}

/// An e-mail address that was confirmed, which can be used once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ValidatedEmail {
    /// The validation session.
    pub session_id: String,
    /// The address in its canonical form.
    pub address: String,
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
    /// A stage could not be tried.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What a client is told that has stages to complete.
#[derive(Debug)]
pub struct Challenge {
    /// The secret name of the session.
    pub session: String,
    /// The ways to authorise the operation.
    pub flows: Vec<Flow>,
    /// The stages that are completed.
    pub completed: Vec<Stage>,
    /// What was wrong with the stage that was tried: error code and sentence.
    pub mistake: Option<(&'static str, &'static str)>,
}

impl Challenge {
    /// The body of the answer.
    #[must_use]
    pub fn body(&self) -> Value {
        let names = |stages: &[Stage]| stages.iter().map(|stage| stage.name()).collect::<Vec<_>>();
        let flows: Vec<_> = self.flows.iter().map(|flow| json!({ "stages": names(flow) })).collect();
        let mut body =
            json!({ "session": self.session, "flows": flows, "params": {}, "completed": names(&self.completed) });
        if let (Some((errcode, sentence)), Some(body)) = (self.mistake, body.as_object_mut()) {
            body.insert("errcode".to_owned(), errcode.into());
            body.insert("error".to_owned(), sentence.into());
        }
        body
    }
}

/// Authorises operations.
pub struct UserInteractiveAuth {
    database: Database,
    clock: Arc<dyn Clock>,
    accounts: Arc<Accounts>,
    opened: AtomicU32,
}

/// A session in memory; stored only if the client has to come back.
struct Session {
    id: String,
    is_stored: bool,
    created_at: Timestamp,
    completed: Vec<Stage>,
    learned: Authorisation,
}

impl UserInteractiveAuth {
    /// Sessions in `database`; passwords are those of `accounts`.
    #[must_use]
    pub fn new(database: Database, clock: Arc<dyn Clock>, accounts: Arc<Accounts>) -> Self {
        Self { database, clock, accounts, opened: AtomicU32::new(0) }
    }

    /// Whether what the client sent in `auth` authorises the operation.
    ///
    /// # Errors
    /// [`UiaError::Incomplete`] tells the client what to do.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn authorise(&self, operation: Operation<'_>, auth: Option<&Auth>) -> Result<Authorisation, UiaError> {
        let nothing = Auth::default();
        let auth = auth.unwrap_or(&nothing);
        let (mut session, mut mistake) = match &auth.session {
            None => (self.new_session(), None),
            Some(id) => match self.load(id, operation).await? {
                Some(session) => (session, None),
                None => {
                    (self.new_session(), Some(("M_UNKNOWN", "This session is not known or has expired: start again")))
                }
            },
        };
        if mistake.is_none() && auth.stage.is_some() {
            mistake = self.try_stage(&mut session, operation, auth).await?;
        }
        let is_done = |flow: &Flow| flow.iter().all(|stage| session.completed.contains(stage));
        if mistake.is_none() && operation.flows.iter().any(is_done) {
            if session.is_stored {
                self.database.delete_uia_session(session.id).await?;
            }
            return Ok(session.learned);
        }
        self.store(&session, operation).await?;
        let Session { id, completed, .. } = session;
        Err(UiaError::Incomplete(Box::new(Challenge {
            session: id,
            flows: operation.flows.to_vec(),
            completed,
            mistake,
        })))
    }

    /// Tries the stage that the client names. Returns what is wrong, if anything.
    async fn try_stage(
        &self,
        session: &mut Session,
        operation: Operation<'_>,
        auth: &Auth,
    ) -> Result<Option<(&'static str, &'static str)>, UiaError> {
        let name = auth.stage.as_deref().unwrap_or_default();
        let Some(stage) = operation.flows.iter().flat_map(|flow| flow.iter()).find(|stage| stage.name() == name) else {
            return Ok(Some(("M_UNRECOGNIZED", "This operation cannot be authorised by a stage of this type")));
        };
        let mistake = match stage {
            Stage::Dummy => None,
            Stage::Password => self.try_password(operation, auth).await?,
            Stage::RegistrationToken | Stage::FirstAccountToken => self.try_token(session, *stage, auth).await?,
            Stage::RegistrationEmail => self.try_email(session, operation, Purpose::Registration, auth).await?,
            Stage::PasswordResetEmail => self.try_email(session, operation, Purpose::PasswordReset, auth).await?,
        };
        if mistake.is_none() && !session.completed.contains(stage) {
            session.completed.push(*stage);
        }
        Ok(mistake)
    }

    async fn try_password(
        &self,
        operation: Operation<'_>,
        auth: &Auth,
    ) -> Result<Option<(&'static str, &'static str)>, UiaError> {
        let Some(requester) = operation.requester else {
            return Ok(Some(("M_FORBIDDEN", "There is no user whose password it could be")));
        };
        let Some(password) = &auth.password else { return Ok(Some(("M_MISSING_PARAM", "The password is missing"))) };
        let is_requester = match &auth.identifier {
            Some(identifier) => self.accounts.is_identifier_of(&identifier.0, requester).await?,
            None => auth.user.as_ref().is_none_or(|name| self.accounts.is_name_of(name, &requester.user_id)),
        };
        if !is_requester {
            return Err(UiaError::OtherUser);
        }
        let is_right = self.accounts.is_password_of(requester, password).await?;
        Ok((!is_right).then_some(("M_FORBIDDEN", "Wrong password")))
    }

    async fn try_token(
        &self,
        session: &mut Session,
        stage: Stage,
        auth: &Auth,
    ) -> Result<Option<(&'static str, &'static str)>, UiaError> {
        let Some(token) = &auth.token else {
            return Ok(Some(("M_MISSING_PARAM", "The registration token is missing")));
        };
        match self.database.usable_registration_token(token, self.clock.now()).await? {
            Some(usable) if usable.makes_admin || stage == Stage::RegistrationToken => {
                session.learned.registration_token = Some(token.clone());
                Ok(None)
            }
            _ => Ok(Some(("M_UNAUTHORIZED", "This registration token is not valid"))),
        }
    }

    async fn try_email(
        &self,
        session: &mut Session,
        operation: Operation<'_>,
        purpose: Purpose,
        auth: &Auth,
    ) -> Result<Option<(&'static str, &'static str)>, UiaError> {
        let creds = auth.threepid_creds.as_ref().or(auth.old_threepid_creds.as_ref());
        let Some(Object(ThreepidCredentials { sid, client_secret })) = creds else {
            return Ok(Some(("M_MISSING_PARAM", "The credentials of the e-mail address (threepid_creds) are missing")));
        };
        let found = validated_email(&self.database, &*self.clock, purpose, sid, client_secret).await?;
        let Some(email) = found else {
            return Ok(Some((
                "M_UNAUTHORIZED",
                "The e-mail address is not confirmed: follow the link in the mail first",
            )));
        };
        if let Some(requester) = operation.requester
            && self.database.threepid_owner(EMAIL, &email.address).await? != Some(requester.user_sn)
        {
            return Err(UiaError::OtherUser);
        }
        session.learned.email = Some(email);
        Ok(None)
    }

    fn new_session(&self) -> Session {
        Session {
            id: random_string(32),
            is_stored: false,
            created_at: self.clock.now(),
            completed: Vec::new(),
            learned: Authorisation::default(),
        }
    }

    async fn load(&self, id: &str, operation: Operation<'_>) -> Result<Option<Session>, StorageError> {
        let stored = self.database.uia_session(id, self.clock.now().minus(MAX_AGE)).await?;
        let is_same = |stored: &UiaSession| stored.operation == operation.name && stored.user_sn == user_sn(operation);
        let Some(stored) = stored.filter(is_same) else { return Ok(None) };
        Ok(Some(Session {
            id: stored.session_id,
            is_stored: true,
            created_at: stored.created_at,
            completed: serde_json::from_str(&stored.completed).map_err(unreadable)?,
            learned: serde_json::from_str(&stored.details).map_err(unreadable)?,
        }))
    }

    async fn store(&self, session: &Session, operation: Operation<'_>) -> Result<(), StorageError> {
        if !session.is_stored && self.opened.fetch_add(1, Ordering::Relaxed).is_multiple_of(PRUNE_EVERY) {
            self.database.prune_uia_sessions(self.clock.now().minus(MAX_AGE), MAX_SESSIONS).await?;
        }
        let stored = UiaSession {
            session_id: session.id.clone(),
            operation: operation.name.to_owned(),
            user_sn: user_sn(operation),
            completed: serde_json::to_string(&session.completed).map_err(unreadable)?,
            details: serde_json::to_string(&session.learned).map_err(unreadable)?,
            created_at: session.created_at,
        };
        self.database.store_uia_session(stored).await
    }
}

fn user_sn(operation: Operation<'_>) -> Option<UserSn> {
    operation.requester.map(|requester| requester.user_sn)
}

fn unreadable(error: serde_json::Error) -> StorageError {
    StorageError::Statement(format!("table uia_sessions: {error}"))
}
