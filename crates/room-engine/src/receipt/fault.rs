//! What can be wrong with a received event, by what becomes of it.

use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName};

use crate::{EventError, auth::AuthError};

/// Why an event is not taken in at all. It leaves no trace in the room; another server may still send it as it should
/// be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// The event does not have the form of its room version.
    #[error("The event is malformed: {0}")]
    Malformed(#[from] EventError),
    /// The event is of another room than the one it was sent for.
    #[error("The event belongs to the room {room_id}.")]
    OtherRoom {
        /// The room that the event names.
        room_id: OwnedRoomId,
    },
    /// A create event that makes a room of another version than the one that it was read as.
    #[error("The create event is not one of room version {version}.")]
    OtherVersion {
        /// The version that the event was read as.
        version: crate::RoomVersion,
    },
    /// The event is among its own `prev_events` or `auth_events`.
    #[error("The event {event_id} names itself as an earlier event.")]
    NamesItself {
        /// The event.
        event_id: OwnedEventId,
    },
    /// Another event, of another room, has the ID, which the sender chooses in versions 1 and 2.
    #[error("The ID {event_id} is that of an event of another room.")]
    IdTaken {
        /// The ID.
        event_id: OwnedEventId,
    },
    /// A signature that the event needs is absent, wrong, or cannot be checked.
    #[error(transparent)]
    Signature(#[from] SignatureFault),
}

impl Dropped {
    /// Whether the event may pass once more keys of its signers are known.
    pub const fn is_for_want_of_keys(&self) -> bool {
        matches!(self, Self::Signature(fault) if fault.is_for_want_of_keys())
    }
}

/// What is wrong with the signatures of one server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// There is none with an algorithm that is understood.
    #[error("The signature of {server} is missing.")]
    Missing {
        /// The server.
        server: OwnedServerName,
    },
    /// None of the keys that it signed with is known and was valid.
    #[error("No key that {server} signed with is known to have been valid.")]
    NoKnownKey {
        /// The server.
        server: OwnedServerName,
    },
    /// The signature by a known and valid key is not one of this event.
    #[error("The signature of {server} by the key {key_id} is wrong.")]
    Wrong {
        /// The server.
        server: OwnedServerName,
        /// The key.
        key_id: Box<str>,
    },
    /// More signatures than any server makes.
    #[error("{server} signed {count} times; the limit is {limit}.")]
    TooMany {
        /// The server.
        server: OwnedServerName,
        /// How many signatures there are.
        count: usize,
        /// The most that are checked.
        limit: usize,
    },
}

impl SignatureFault {
    /// Whether the signatures may turn out to be valid once more keys of the server are known.
    pub const fn is_for_want_of_keys(&self) -> bool {
        matches!(self, Self::NoKnownKey { .. })
    }
}

/// Why an event is kept but never counts: it is not shown, not built upon, and not part of any state. See
/// [rejection](https://spec.matrix.org/v1.19/server-server-api/#rejection).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// An event of `auth_events` is not to be had.
    #[error("The event {event_id} that should permit this one is not known.")]
    UnknownAuthEvent {
        /// The absent event.
        event_id: OwnedEventId,
    },
    /// The `auth_events` are not those that the event needs, or do not permit it.
    #[error("Its `auth_events` do not permit the event: {0}")]
    AuthEvents(#[source] AuthError),
    /// [Rule 4.2](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules): the server of the user who vouches for
    /// a restricted join has not signed.
    #[error("The server of `join_authorised_via_users_server` has not signed the event: {0}")]
    AuthorisingServer(#[source] SignatureFault),
    /// [Rule 4.2](https://spec.matrix.org/v1.19/rooms/v11/#authorisation-rules): who vouches for a restricted join is no
    /// user, so no server can have signed.
    #[error("`join_authorised_via_users_server` is not a user ID.")]
    AuthorisingUser,
    /// The event creates a room that has been created before. Without previous events there is no state before it that
    /// could speak against it.
    #[error("The room has a create event already.")]
    SecondCreate,
    /// The state before the event does not allow it.
    #[error("The state before the event does not allow it: {0}")]
    StateBefore(#[source] AuthError),
}

/// Why an event is not shown and not built upon, but counts where others build upon it. See
/// [soft failure](https://spec.matrix.org/v1.19/server-server-api/#soft-failure).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SoftFailed {
    /// The current state does not allow the event.
    #[error("The current state does not allow the event: {0}")]
    CurrentState(#[source] AuthError),
    /// The policy server of the room has not signed the event.
    #[error("The room's policy server has not signed the event.")]
    PolicyServer,
}
