//! What an operation is to do, remembered from one request to the next.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use storage::{StorageError, UiaOutcome};

use super::unreadable;

/// What a request says is to be done. A client may leave out later what it has said before.
pub trait Parameters: Clone + Default + Serialize + DeserializeOwned + Send + Sync {
    /// Adds what the requests before this one have said and this one does not. `None` if this one wants something else done than
    /// those did, for which the stages were completed.
    fn complete(self, before: Self) -> Option<Self>;

    /// Whether these are the parameters, possibly not all of them, of what was done.
    fn repeat(&self, done: &Self) -> bool;
}

/// What a request asks for.
#[derive(Clone, Default)]
pub struct Asked<P> {
    /// What is to be done.
    pub parameters: P,
    /// The password to be set. Only its hash is remembered.
    pub new_password: Option<String>,
}

impl<P> From<P> for Asked<P> {
    fn from(parameters: P) -> Self {
        Self { parameters, new_password: None }
    }
}

/// The password to be set.
#[derive(Clone, PartialEq, Eq)]
pub enum NewPassword {
    /// As the client says it.
    Plain(String),
    /// The hash, if an earlier request said it.
    Hashed(String),
}

/// What a session remembers of the requests before.
#[derive(Default, Serialize, Deserialize)]
#[serde(bound(deserialize = "P: DeserializeOwned + Default"))]
pub(super) struct Remembered<P> {
    #[serde(default)]
    pub(super) parameters: P,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) password_hash: Option<String>,
    /// By which the process that made the hash knows the password again, without hashing it once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) password_mark: Option<String>,
}

/// The session in which an operation was authorised. It is finished in the transaction that does it, or right behind, so that the
/// same request has the same answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Finishing {
    pub(super) session_id: String,
    pub(super) parameters: Value,
}

impl Finishing {
    pub(crate) fn session_id(&self) -> &str {
        &self.session_id
    }

    /// What is stored of an operation that was done. `password_hash` is that of the password that was set.
    pub(crate) fn outcome(&self, password_hash: Option<&str>, outcome: &Value) -> Result<UiaOutcome, StorageError> {
        let remembered = RememberedJson { parameters: &self.parameters, password_hash };
        Ok(UiaOutcome {
            session_id: self.session_id.clone(),
            parameters: serde_json::to_string(&remembered).map_err(unreadable)?,
            outcome: outcome.to_string(),
        })
    }
}

/// As [`Remembered`], of parameters that are JSON already.
#[derive(Serialize)]
struct RememberedJson<'a> {
    parameters: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_hash: Option<&'a str>,
}

/// Nothing but its name: there is only one way to do it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct NoParameters {}

impl Parameters for NoParameters {
    fn complete(self, _before: Self) -> Option<Self> {
        Some(self)
    }

    fn repeat(&self, _done: &Self) -> bool {
        true
    }
}

/// What was said before, unless something is said now; `None` if both are said and differ.
pub fn unchanged<T: PartialEq>(now: Option<T>, before: Option<T>) -> Option<Option<T>> {
    match (now, before) {
        (Some(now), Some(before)) if now != before => None,
        (now, before) => Some(now.or(before)),
    }
}
