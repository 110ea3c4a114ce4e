//! What this server does for others as one that is in a room: it proposes the events by which their users join, leave and knock, and takes
//! in what they have signed.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>

mod joined_room;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use accounts::rate_limits::{Key, LimitedAction, RateLimits};
use federation::ServerKeys;
use homeserver_core::{Identity, RoomSn};
use room_engine::receipt::{Form, ReceivedPdu};
use room_engine::{EventTemplate, Membership, Pdu, RoomVersion};
use rooms::{Memberships, Reception, RoomError, Timeline};
use ruma::{EventId, RoomId, ServerName, UserId};
use serde_json::value::RawValue;
use storage::{Database, Interned, Standing};
use tokio::time::Instant;

pub use self::joined_room::JoinedRoom;
use crate::HandshakeError;
use crate::event_keys::keys_of_event;
use crate::requests::Handshake;

/// How long the keys of the servers may take that have signed an event.
const KEYS_LIMIT: Duration = Duration::from_secs(20);

/// What a [`Resident`] is made of.
pub struct ResidentParts {
    /// The database.
    pub database: Database,
    /// The numbers of identifiers.
    pub interned: Arc<Interned>,
    /// Who this server is.
    pub identity: Arc<Identity>,
    /// The rooms.
    pub timeline: Arc<Timeline>,
    /// Memberships of rooms that this server is in.
    pub memberships: Arc<Memberships>,
    /// The keys of other servers.
    pub keys: Arc<ServerKeys>,
    /// Rate limits of rooms.
    pub rate_limits: Arc<RateLimits>,
}

/// A server that is in rooms, as others need it to get into them.
pub struct Resident(ResidentParts);

/// An event for another server to sign.
#[derive(Debug)]
pub struct Proposal {
    /// The version of the room.
    pub version: RoomVersion,
    /// The event, without hashes and signatures, as JSON.
    pub event: Vec<u8>,
}

/// A room that this server is in.
struct KnownRoom<'a> {
    room_sn: RoomSn,
    room_id: &'a RoomId,
    version: RoomVersion,
    /// Whether only a part of its state is known.
    is_partial: bool,
}

impl KnownRoom<'_> {
    /// Nobody is let in by a part of the state; leaving is always possible.
    fn check_is_whole_for(&self, handshake: Handshake) -> Result<(), HandshakeError> {
        let needs_all = handshake != Handshake::Leave;
        if needs_all && self.is_partial { Err(HandshakeError::StillPartial) } else { Ok(()) }
    }
}

impl Resident {
    /// Answers with what is in `parts`.
    #[must_use]
    pub fn new(parts: ResidentParts) -> Self {
        Self(parts)
    }

    /// Proposes the event by which a user of `origin` joins, leaves or knocks. `versions` are the room versions that the other server
    /// knows; `None` if it does not matter.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid>
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn propose(
        &self,
        origin: &ServerName,
        handshake: Handshake,
        (room_id, user_id): (&RoomId, &UserId),
        versions: Option<&[String]>,
    ) -> Result<Proposal, HandshakeError> {
        if user_id.server_name() != origin {
            return Err(HandshakeError::OtherServersUser);
        }
        let room = self.room(origin, room_id).await?;
        room.check_is_whole_for(handshake)?;
        let is_known = |versions: &[String]| versions.iter().any(|version| version == room.version.as_str());
        if versions.is_some_and(|versions| !is_known(versions)) {
            return Err(HandshakeError::IncompatibleVersion(room.version.to_string()));
        }
        let event = self.0.memberships.propose(room.room_sn, user_id, handshake.membership()).await?;
        Ok(Proposal { version: room.version, event: EventTemplate::json_of(&event) })
    }

    /// Takes in the event by which a user of `origin` joins, and returns what the other server must know of the room.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid>
    ///
    /// # Errors
    /// [`HandshakeError`], with nothing taken in.
    pub async fn accept_join(
        &self,
        origin: &ServerName,
        (room_id, event_id): (&RoomId, &EventId),
        event: &RawValue,
        may_omit_members: bool,
    ) -> Result<JoinedRoom, HandshakeError> {
        let room = self.room(origin, room_id).await?;
        let event = self.accept(origin, Handshake::Join, &room, event_id, event).await?;
        let timeline = self.0.timeline.clone();
        let state = timeline.join_state(room.room_sn, event_id, may_omit_members).await?;
        let (origin, version) = (self.0.identity.server_name.clone(), room.version);
        Ok(JoinedRoom { timeline, origin, room_id: room_id.to_owned(), version, event: event.to_json(), state })
    }

    /// Takes in the event by which a user of `origin` leaves.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid>
    ///
    /// # Errors
    /// [`HandshakeError`], with nothing taken in.
    pub async fn accept_leave(
        &self,
        origin: &ServerName,
        (room_id, event_id): (&RoomId, &EventId),
        event: &RawValue,
    ) -> Result<(), HandshakeError> {
        let room = self.room(origin, room_id).await?;
        self.accept(origin, Handshake::Leave, &room, event_id, event).await.map(drop)
    }

    /// Takes in the event by which a user of `origin` knocks, and returns the events that introduce the room, as JSON.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid>
    ///
    /// # Errors
    /// [`HandshakeError`], with nothing taken in.
    pub async fn accept_knock(
        &self,
        origin: &ServerName,
        (room_id, event_id): (&RoomId, &EventId),
        event: &RawValue,
    ) -> Result<Vec<Vec<u8>>, HandshakeError> {
        let room = self.room(origin, room_id).await?;
        self.accept(origin, Handshake::Knock, &room, event_id, event).await?;
        let introduction = self.0.timeline.open(room.room_sn).await?.introduction(None).await?;
        Ok(introduction.iter().map(Pdu::to_json).collect())
    }

    /// A room that this server is in, and that lets the other server take part.
    async fn room<'a>(&self, origin: &ServerName, room_id: &'a RoomId) -> Result<KnownRoom<'a>, HandshakeError> {
        let ResidentParts { database, interned, timeline, .. } = &self.0;
        let room_sn = interned.find_room(room_id.as_str()).await?.ok_or(HandshakeError::NotInRoom)?;
        if !database.is_in_room(room_sn).await? {
            return Err(HandshakeError::NotInRoom);
        }
        if !timeline.admits_server(room_sn, origin).await? {
            return Err(HandshakeError::ServerRefused);
        }
        let head = database.room_head(room_sn).await?.ok_or(HandshakeError::NotInRoom)?;
        let version = head.room_version.parse().map_err(RoomError::from)?;
        let is_partial = head.state_whole_since.is_none();
        Ok(KnownRoom { room_sn, room_id, version, is_partial })
    }

    /// Checks that the event is what its request says, and takes it in.
    async fn accept(
        &self,
        origin: &ServerName,
        handshake: Handshake,
        room: &KnownRoom<'_>,
        event_id: &EventId,
        event: &RawValue,
    ) -> Result<Pdu, HandshakeError> {
        room.check_is_whole_for(handshake)?;
        let received = ReceivedPdu::parse(room.version, Some(room.room_id), event.get().as_bytes())?;
        check(&received, origin, handshake.membership(), event_id)?;
        if handshake == Handshake::Join {
            self.0
                .rate_limits
                .spend(LimitedAction::JoinsPerRoom, Key::room(room.room_sn), None)
                .map_err(RoomError::from)?
                .keep();
        }
        let event = self.vouched(room, received.event()).await?;
        let deadline = Instant::now() + KEYS_LIMIT;
        let mut needed = keys_of_event(&received);
        if event != *received.event() {
            needed.insert(self.0.identity.server_name.clone(), BTreeSet::new());
        }
        let keys = self.0.keys.for_events(&needed, deadline).await;
        match self.0.timeline.receive(room.room_id, &event.to_json(), &keys).await? {
            // A known one may not have been passed on, if the first request for it was interrupted.
            Reception::Stored(Standing::Accepted, _) | Reception::Known(Standing::Accepted) => {
                self.pass_on(room, &event).await?;
                Ok(event)
            }
            Reception::Stored(_, reason) => Err(HandshakeError::Refused(reason.unwrap_or_default())),
            Reception::Known(_) => Err(HandshakeError::Refused("The event was refused before.".to_owned())),
            Reception::Missing(_) => {
                Err(HandshakeError::Invalid("It follows events that are not known here.".to_owned()))
            }
            Reception::Dropped(reason) => Err(reason.into()),
        }
    }

    /// Has an event of another server sent to all servers in the room, which do not get it from there.
    async fn pass_on(&self, room: &KnownRoom<'_>, event: &Pdu) -> Result<(), HandshakeError> {
        let database = &self.0.database;
        let stored = database.graph_events_by_id(room.room_sn, &[event.event_id().to_string()]).await?.pop();
        match stored {
            Some(stored) => Ok(database.forward_event(room.room_sn, stored.stored.sn).await?),
            None => Ok(()),
        }
    }

    /// The event with the signature of this server, if a user of this server vouches for the join.
    async fn vouched(&self, room: &KnownRoom<'_>, event: &Pdu) -> Result<Pdu, HandshakeError> {
        let vouching = event.member().ok().and_then(|content| content.join_authorised_via_users_server.clone().ok()?);
        let Some(vouching) = vouching.filter(|user_id| self.0.identity.is_local(user_id)) else {
            return Ok(event.clone());
        };
        tracing::debug!(%vouching, event_id = %event.event_id(), "vouching for the join of a user of another server");
        self.0.memberships.check_vouching(room.room_sn, event.sender()).await?;
        let signed = event.signed(&self.0.identity.server_name, &self.0.identity.key_pair);
        signed.map_err(|error| HandshakeError::Invalid(error.to_string()))
    }
}

impl Handshake {
    /// What the user becomes by it.
    #[must_use]
    pub fn membership(self) -> Membership {
        match self {
            Self::Join => Membership::Join,
            Self::Leave => Membership::Leave,
            Self::Knock => Membership::Knock,
        }
    }
}

/// Checks that it is the member event of a user of `origin` by that user, with this membership and ID.
fn check(
    received: &ReceivedPdu,
    origin: &ServerName,
    membership: Membership,
    event_id: &EventId,
) -> Result<(), HandshakeError> {
    let event = received.event();
    let invalid = |sentence: &str| Err(HandshakeError::Invalid(sentence.to_owned()));
    if received.form() == Form::Redacted {
        return invalid("The content hash of the event is wrong.");
    }
    if event.event_id() != event_id {
        return invalid("The event has another ID than the path.");
    }
    if !event.is_state("m.room.member", event.sender().as_str()) {
        return invalid("The event is not the sender's own member event.");
    }
    if event.membership() != Some(membership) {
        return invalid("The event has another membership than the request is for.");
    }
    if event.sender().server_name() != origin {
        return invalid("The sender of the event is not a user of your server.");
    }
    Ok(())
}
