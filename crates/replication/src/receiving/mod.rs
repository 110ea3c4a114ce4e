//! Receiving transactions of other servers.
//!
//! [`Receiving::transaction`] takes the events of a transaction room by room: rooms side by side, and the events of a room one after the
//! other, also across transactions. What an event names and this server lacks is fetched first ([`gaps`]). EDUs go to their
//! [receivers](crate::edus::EduReceivers).
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#transactions>

mod answered;
mod completing;
mod edus;
mod fetching;
mod gaps;
mod room;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use federation::ServerKeys;
use futures::{FutureExt as _, StreamExt as _};
use rooms::{RoomError, Timeline};
use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use storage::{Database, Interned, StorageError};

use self::answered::Answered;
pub use self::completing::RoomCompletion;
use crate::edus::{Edu, EduReceivers};
use crate::memberships::SharedMemberships;
use crate::requests::RoomRequests;
use crate::room_locks::RoomLocks;

/// The most PDUs of a transaction.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#transactions>
const MAX_PDUS: usize = 50;
/// The most EDUs of a transaction.
const MAX_EDUS: usize = 100;
/// So many rooms of a transaction are worked on side by side.
const ROOMS_AT_ONCE: usize = 4;

/// What [`Receiving`] is made of.
pub struct ReceivingParts {
    /// The database.
    pub database: Database,
    /// The numbers of identifiers.
    pub interned: Arc<Interned>,
    /// The rooms.
    pub timeline: Arc<Timeline>,
    /// Memberships of rooms that this server is not in.
    pub memberships: Arc<SharedMemberships>,
    /// The keys of other servers.
    pub keys: Arc<ServerKeys>,
    /// Requests for what is missing.
    pub requests: Arc<RoomRequests>,
    /// Who takes EDUs.
    pub edus: Arc<EduReceivers>,
}

/// A transaction as another server sends it. Nothing of it is checked.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid>
#[derive(Debug, Deserialize)]
pub struct Transaction {
    /// Events.
    #[serde(default)]
    pub pdus: Vec<Box<RawValue>>,
    /// What is not kept.
    #[serde(default)]
    pub edus: Vec<Box<RawValue>>,
}

impl Transaction {
    /// The events by their rooms. An event that does not tell its room is left out.
    #[must_use]
    pub fn by_room(self) -> BTreeMap<OwnedRoomId, Vec<Bytes>> {
        #[derive(Deserialize)]
        struct InRoom {
            room_id: OwnedRoomId,
        }
        let mut rooms: BTreeMap<OwnedRoomId, Vec<Bytes>> = BTreeMap::new();
        for pdu in self.pdus {
            match serde_json::from_str::<InRoom>(pdu.get()) {
                Ok(InRoom { room_id }) => {
                    rooms.entry(room_id).or_default().push(String::from(Box::<str>::from(pdu)).into());
                }
                Err(error) => tracing::debug!(%error, "an event of a transaction tells no room"),
            }
        }
        rooms
    }
}

/// Why a transaction is not answered.
#[derive(Debug, thiserror::Error)]
pub enum ReceivingError {
    /// It has more events or EDUs than a transaction may have.
    #[error("A transaction has at most {MAX_PDUS} PDUs and {MAX_EDUS} EDUs; this one has {pdus} and {edus}.")]
    TooMany {
        /// How many events it has.
        pdus: usize,
        /// How many EDUs it has.
        edus: usize,
    },
    /// Something could not be read or written. The same transaction may succeed later.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// The work on it ended before it was done. The same transaction may succeed later.
    #[error("The work on the transaction ended early.")]
    Ended,
}

impl From<StorageError> for ReceivingError {
    fn from(error: StorageError) -> Self {
        Self::Room(error.into())
    }
}

/// What became of the events of a transaction; of those that were not taken in, why.
type Outcomes = BTreeMap<OwnedEventId, Option<String>>;

/// Receives transactions of other servers.
pub struct Receiving {
    parts: ReceivingParts,
    answered: Answered,
    rooms: RoomLocks,
}

impl Receiving {
    /// Receives with what is in `parts`.
    #[must_use]
    pub fn new(parts: ReceivingParts) -> Arc<Self> {
        Arc::new(Self { parts, answered: Answered::default(), rooms: RoomLocks::default() })
    }

    /// Takes a transaction of `origin`, and returns the answer as JSON. The same transaction again has the same answer, for a while at
    /// least; after that, and after a restart, its events are known.
    ///
    /// # Errors
    /// [`ReceivingError`].
    pub async fn transaction(
        self: &Arc<Self>,
        origin: &ServerName,
        transaction_id: &str,
        transaction: Transaction,
    ) -> Result<Bytes, ReceivingError> {
        let (pdus, edus) = (transaction.pdus.len(), transaction.edus.len());
        if pdus > MAX_PDUS || edus > MAX_EDUS {
            return Err(ReceivingError::TooMany { pdus, edus });
        }
        let slot = self.answered.slot(origin, transaction_id);
        let answer = slot.get_or_try_init(|| async {
            // It goes on if the other server does not wait for the answer.
            let (receiving, origin) = (self.clone(), origin.to_owned());
            let work = tokio::spawn(async move { receiving.receive(&origin, transaction).await });
            work.await.unwrap_or(Err(ReceivingError::Ended))
        });
        answer.await.cloned()
    }

    async fn receive(&self, origin: &OwnedServerName, transaction: Transaction) -> Result<Bytes, ReceivingError> {
        let edus: Vec<Edu> =
            transaction.edus.iter().filter_map(|edu| serde_json::from_str::<Edu>(edu.get()).ok()).collect();
        let rooms = transaction.by_room();
        // Boxed and collected, because the compiler does not see otherwise that they can be sent.
        let work: Vec<_> = rooms.into_iter().map(|(room_id, pdus)| self.room(origin, room_id, pdus).boxed()).collect();
        let outcomes: Vec<Result<Outcomes, RoomError>> =
            futures::stream::iter(work).buffer_unordered(ROOMS_AT_ONCE).collect().await;
        let edus = self.admitted(origin, edus).await?;
        self.parts.edus.receive(origin, edus).await?;
        let mut pdus = Map::new();
        for outcomes in outcomes {
            let of_event = |(event_id, error): (OwnedEventId, Option<String>)| {
                let outcome = error.map_or_else(|| json!({}), |error| json!({ "error": error }));
                (event_id.to_string(), outcome)
            };
            pdus.extend(outcomes?.into_iter().map(of_event));
        }
        Ok(Bytes::from(json!({ "pdus": Value::Object(pdus) }).to_string()))
    }
}
