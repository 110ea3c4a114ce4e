//! Transaction IDs of requests that send an event.

use accounts::sessions::Requester;
use homeserver_core::TypeSn;
use ruma::EventId;
use sha2::{Digest as _, Sha256};
use storage::{ClientTransaction, TransactionEndpoint, TransactionSender};

/// A client's transaction ID, with the parts of the request's path that scope it within a room.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers>
#[derive(Clone, Copy, Debug)]
pub struct ScopedTransactionId<'a> {
    id: &'a str,
    /// The event in the path of `/redact`.
    redacts: Option<&'a EventId>,
}

impl<'a> ScopedTransactionId<'a> {
    /// The ID of a request to `/send`.
    #[must_use]
    pub fn of_sending(id: &'a str) -> Self {
        Self { id, redacts: None }
    }

    /// The ID of a request to `/redact`.
    #[must_use]
    pub fn of_redacting(event_id: &'a EventId, id: &'a str) -> Self {
        Self { id, redacts: Some(event_id) }
    }

    /// The transaction ID in its full scope: sender, endpoint and event type.
    pub(super) fn within_its_scope(self, requester: &Requester, type_sn: TypeSn) -> ClientTransaction {
        let endpoint = match self.redacts {
            Some(event_id) => TransactionEndpoint::Redact(hash(event_id)),
            None => TransactionEndpoint::Send(type_sn),
        };
        let user = TransactionSender::User(requester.user_sn);
        let sender = requester.device_sn.map_or(user, TransactionSender::Device);
        ClientTransaction { sender, endpoint, id: self.id.into() }
    }
}

/// The hash is stored, so it must stay the same in all versions of the server.
fn hash(event_id: &EventId) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(Sha256::digest(event_id.as_bytes()));
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}
