//! Ephemeral data units (EDUs): what servers tell each other beside events, and nobody keeps for good.
//!
//! [`EduReceivers`] hands over what another server sent, and [`outbound`] makes what others are sent of an entry of the log. What an EDU
//! of a type means is the matter of the crates above this one: each type has an [`EduReceiver`] there, which the server registers.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#edus>

pub mod outbound;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use ruma::ServerName;
use serde::Deserialize;
use serde_json::value::RawValue;
use storage::StorageError;

/// An EDU of a transaction of another server.
#[derive(Debug, Deserialize)]
pub struct Edu {
    /// Its type, such as `m.typing`.
    pub edu_type: String,
    /// Its content, which its receiver checks.
    pub content: Box<RawValue>,
}

/// Takes the EDUs of one type.
pub trait EduReceiver: Send + Sync + 'static {
    /// The type.
    fn edu_type(&self) -> &'static str;

    /// Takes the contents of all EDUs of the type in one transaction of `origin`, in their order. Nothing in them is checked: they may be
    /// of any form, and speak of users of other servers. What is not allowed is left out without an error, because the sender can do
    /// nothing about it.
    ///
    /// An error is one that another attempt of the sender may not meet: the whole transaction fails, and is sent again.
    fn receive(
        &self,
        origin: &ServerName,
        contents: &[Box<RawValue>],
    ) -> impl Future<Output = Result<(), StorageError>> + Send;
}

/// An [`EduReceiver`] of a type that is not known here.
trait AnyReceiver: Send + Sync {
    fn take<'a>(
        &'a self,
        origin: &'a ServerName,
        contents: &'a [Box<RawValue>],
    ) -> BoxFuture<'a, Result<(), StorageError>>;
}

impl<R: EduReceiver> AnyReceiver for R {
    fn take<'a>(
        &'a self,
        origin: &'a ServerName,
        contents: &'a [Box<RawValue>],
    ) -> BoxFuture<'a, Result<(), StorageError>> {
        Box::pin(self.receive(origin, contents))
    }
}

/// The receivers of EDUs, by type.
#[derive(Default)]
pub struct EduReceivers(BTreeMap<&'static str, Arc<dyn AnyReceiver>>);

impl EduReceivers {
    /// With a receiver for one more type.
    #[must_use]
    pub fn with<R: EduReceiver>(mut self, receiver: Arc<R>) -> Self {
        self.0.insert(receiver.edu_type(), receiver);
        self
    }

    /// Hands over the EDUs of one transaction. Those of a type keep their order. Unknown types are left out.
    ///
    /// # Errors
    /// [`StorageError`] if one was not stored. The others were taken.
    pub async fn receive(&self, origin: &ServerName, edus: Vec<Edu>) -> Result<(), StorageError> {
        let mut by_type: BTreeMap<&'static str, Vec<Box<RawValue>>> = BTreeMap::new();
        for edu in edus {
            match self.0.get_key_value(edu.edu_type.as_str()) {
                Some((edu_type, _)) => by_type.entry(edu_type).or_default().push(edu.content),
                None => tracing::debug!(%origin, edu_type = edu.edu_type, "an EDU of an unknown type was left out"),
            }
        }
        let mut outcome = Ok(());
        for (edu_type, contents) in by_type {
            let Some(receiver) = self.0.get(edu_type) else { continue };
            if let Err(error) = receiver.take(origin, &contents).await {
                tracing::warn!(%origin, edu_type, %error, "EDUs were not stored");
                outcome = Err(error);
            }
        }
        outcome
    }
}
