//! Transaction IDs of clients, by which a repeated request is known.

use homeserver_core::{DeviceSn, EventSn, RoomSn, TypeSn, UserSn};

use crate::{Database, StorageError, params};

/// Whose transaction ID it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TransactionSender {
    /// A device's.
    Device(DeviceSn),
    /// That of a user who sends without a device, as application services do for their users.
    User(UserSn),
}

impl TransactionSender {
    /// The number it is stored as. Devices and users are numbered from one.
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Device(device_sn) => device_sn.0,
            Self::User(user_sn) => -user_sn.0,
        }
    }

    pub(crate) fn device_sn(self) -> Option<DeviceSn> {
        match self {
            Self::Device(device_sn) => Some(device_sn),
            Self::User(_) => None,
        }
    }
}

/// The part of a request's path that is between the room and the transaction ID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TransactionEndpoint {
    /// `/send/{eventType}`.
    Send(TypeSn),
    /// `/redact/{eventId}`. The number is 63 bits of a hash of the event ID: the event may not be known here.
    Redact(i64),
}

impl TransactionEndpoint {
    /// The number it is stored as. Event types are numbered from one.
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Send(type_sn) => type_sn.0,
            Self::Redact(hash) => hash | i64::MIN,
        }
    }
}

/// A transaction ID within its scope.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers>
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClientTransaction {
    /// Whose it is.
    pub sender: TransactionSender,
    /// On which endpoint of the room it was used.
    pub endpoint: TransactionEndpoint,
    /// The transaction ID.
    pub id: Box<str>,
}

impl Database {
    /// The event that was sent to a room under a transaction ID.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn event_of_transaction(
        &self,
        room_sn: RoomSn,
        transaction: &ClientTransaction,
    ) -> Result<Option<Box<str>>, StorageError> {
        let sql = "SELECT e.event_id FROM client_transactions t JOIN events e ON e.event_sn = t.event_sn \
                   WHERE t.sender = $1 AND t.room_sn = $2 AND t.endpoint = $3 AND t.transaction_id = $4";
        let ClientTransaction { sender, endpoint, id } = transaction;
        self.query_optional(sql, params![sender.code(), room_sn, endpoint.code(), id], |row| row.get(0)).await
    }

    /// The transaction IDs under which `device_sn` sent some of `events`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn transaction_ids(
        &self,
        device_sn: DeviceSn,
        events: &[i64],
    ) -> Result<Vec<(EventSn, Box<str>)>, StorageError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        // The zero keeps planners from going through all that the device ever sent.
        let sql =
            "SELECT event_sn, transaction_id FROM client_transactions WHERE event_sn IN LIST($1) AND sender + 0 = $2";
        self.query(sql, params![events, device_sn], |row| Ok((row.get(0)?, row.get(1)?))).await
    }
}
