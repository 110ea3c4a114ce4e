//! Events that are to be appended.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use homeserver_core::{EventSn, KeySn, Position, RoomSn, TimelineOrder, Timestamp, TypeSn, UserSn};
use rand::Rng as _;
use room_engine::state_map::{Place, StateMap};

use crate::client_transactions::ClientTransaction;
use crate::events::{RedactedEvent, Standing, StoredEvent};
use crate::unread::Unread;
use crate::{Membership, StorageError, Tx};

/// An event's number, which it has from the moment its transaction runs. Shared with the events that are built on it before that.
#[derive(Clone, Debug, Default)]
pub struct EventNumber(Arc<AtomicI64>);

impl EventNumber {
    /// The number of an event that is stored.
    #[must_use]
    pub fn known(sn: EventSn) -> Self {
        Self(Arc::new(AtomicI64::new(sn.0)))
    }

    /// The number; zero before the event's transaction has run.
    #[must_use]
    pub fn sn(&self) -> EventSn {
        EventSn(self.0.load(Ordering::Acquire))
    }

    /// Whether both are the number of the same event.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.sn().0 != 0 && self.sn() == other.sn())
    }

    pub(super) fn assign(&self, sn: EventSn) {
        self.0.store(sn.0, Ordering::Release);
    }
}

/// An event that is to be appended.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Receives the event's number.
    pub number: EventNumber,
    /// Its event ID.
    pub event_id: Box<str>,
    /// Its type.
    pub type_sn: TypeSn,
    /// Its state key; `None` if it is not a state event.
    pub state_key_sn: Option<KeySn>,
    /// Its sender.
    pub sender_sn: UserSn,
    /// When it was sent.
    pub origin_server_ts: Timestamp,
    /// Its depth.
    pub depth: i64,
    /// What clients see, without `room_id` and `unsigned`.
    pub client_json: Bytes,
    /// The rest of the PDU.
    pub federation_json: Bytes,
    /// What it counts for users who have not read it.
    pub unread: Arc<Unread>,
    /// The state event that it replaces, with its client JSON.
    pub replaces: Option<(EventNumber, Bytes)>,
    /// Whose membership it changes, and into what.
    pub membership: Option<(UserSn, Membership)>,
    /// The event that it redacts.
    pub redacts: Option<Redaction>,
    /// What became of it when it was checked.
    pub standing: Standing,
    /// Its auth events, if it is a state event that was not rejected: only those are in auth chains.
    pub auth_events: Vec<EventNumber>,
    /// Which of its auth events has its own type and state key.
    pub previous_in_chain: Option<EventNumber>,
    /// The room's state before it: changes of a state that is stored. `None` for the state after the event before it.
    pub state_before: Option<StateBefore>,
    /// What is particular to an event of another server.
    pub arrival: Arrival,
}

/// What is particular to an event of another server: how it fits to what this server has. The default is that of an event that is
/// made here.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    /// It is stored already, without a place in the room, and gets its place now. It keeps its number, so clients are told of what it
    /// changes in the state, and find the event itself in the past.
    pub was_outlier: bool,
    /// Whether events are missing between it and what is stored.
    pub follows_gap: bool,
    /// The event that redacted it before it came, with its client JSON. The texts of this event are what that leaves.
    pub redacted_by: Option<(EventSn, Bytes)>,
    /// The event that it redacts as soon as that comes.
    pub awaits: Option<Box<str>>,
}

/// What a redaction leaves of an event that is stored.
#[derive(Clone, Debug)]
pub struct Redaction {
    /// The event's number.
    pub number: EventNumber,
    /// What clients see of it.
    pub client_json: Bytes,
    /// The rest of the PDU.
    pub federation_json: Bytes,
    /// Whose member event it is, if it is one.
    pub member: Option<UserSn>,
    /// The event that it related to.
    pub relates_to: Option<Box<str>>,
}

/// A state, as changes of one that is stored. In the order of the places.
#[derive(Clone, Debug)]
pub struct StateBefore {
    /// The stored state: that of an event of the room, read after the version of the head that the append expects. Then an
    /// append that finds this version finds the whole state, because [`Tx::renew_head`] comes before any removal.
    pub base: StateMap,
    /// Which event is where instead, or none.
    pub changes: Vec<(Place, Option<EventSn>)>,
}

/// What the room's current state has in a place after an append. The event may be one of those appended.
#[derive(Clone, Debug)]
pub struct StateEffect {
    /// The place.
    pub place: Place,
    /// The event that is there now; `None` if there is none any more.
    pub event: Option<EventNumber>,
    /// The event that was there.
    pub replaces: Option<EventSn>,
    /// Whose membership it changes, and into what.
    pub membership: Option<(UserSn, Membership)>,
    /// What the membership was before, as far as that is known.
    pub membership_before: Option<Membership>,
}

impl NewEvent {
    /// Whether it is a new event of the timeline, which clients are told of.
    pub(crate) fn is_news(&self) -> bool {
        self.standing == Standing::Accepted && !self.arrival.was_outlier
    }
}

/// Events of one room that are written together.
pub struct Append {
    /// The room.
    pub room_sn: RoomSn,
    /// Its room version.
    pub room_version: Box<str>,
    /// The version of the room's head that the events were built on.
    pub expected_version: i64,
    /// The version that the head has with them: [`later_version`] of the one before.
    pub new_version: i64,
    /// The events, in order; each was built on the one before.
    pub events: Vec<NewEvent>,
    /// What becomes of the room's current state, if that does not simply follow from the events: the places that change, in
    /// their order.
    pub resolved: Option<Vec<StateEffect>>,
    /// The events to which no other refers after this, if that is not just the last one.
    pub extremities: Option<Vec<EventNumber>>,
    /// The transaction ID under which the (then single) event was sent.
    pub transaction: Option<ClientTransaction>,
    /// By how much the number of joined members changes.
    pub joined_change: i64,
    /// By how much the number of invited members changes.
    pub invited_change: i64,
    /// Further writes that belong to the same transaction.
    pub also: Option<Box<dyn Step>>,
    /// Whether this server enters the room with it. Then the changes of the state that no event of the append makes come before the
    /// events in the log; of a room that was not known, the log tells only of those that change the membership of a local user.
    pub is_entry: bool,
}

/// A version of a room's head after `version`.
///
/// Versions grow, and are no mere count: what is built on an append that is refused must never expect the version that the room
/// has come to by other appends, however many there are of both.
#[must_use]
pub fn later_version(version: i64) -> i64 {
    version.saturating_add(rand::rng().random_range(1..=MAX_VERSION_STEP))
}

/// A version can grow this much four billion times.
const MAX_VERSION_STEP: i64 = 1 << 31;

/// A write that runs in the transaction of an append. It may run more than once.
pub trait Step: Send {
    /// Runs it.
    fn run<'a>(&'a self, tx: &'a mut Tx) -> Pin<Box<dyn Future<Output = Result<(), StorageError>> + 'a>>;
}

impl<F> Step for F
where
    F: AsyncFn(&mut Tx) -> Result<(), StorageError> + Send,
{
    fn run<'a>(&'a self, tx: &'a mut Tx) -> Pin<Box<dyn Future<Output = Result<(), StorageError>> + 'a>> {
        Box::pin(self(tx))
    }
}

/// What became of an [`Append`].
#[derive(Clone, Debug)]
pub enum AppendOutcome {
    /// The events are stored.
    Appended(Vec<Arc<StoredEvent>>),
    /// The room has moved on since the events were built, or the transaction ID was used before. Nothing was stored.
    Stale,
}

/// The key of `client_transactions`: sender, room, endpoint, transaction ID.
pub(super) type TransactionKey = (i64, RoomSn, i64, Box<str>);

impl Append {
    pub(super) fn transaction_key(&self) -> Option<TransactionKey> {
        let ClientTransaction { sender, endpoint, id } = self.transaction.as_ref()?;
        Some((sender.code(), self.room_sn, endpoint.code(), id.clone()))
    }

    /// How many positions of the log it takes: one for each event, and one for each change of the state by none of them.
    pub(crate) fn positions(&self) -> i64 {
        let resolved = self.resolved.as_deref().unwrap_or_default();
        let others = resolved.iter().filter(|effect| !self.is_by_own_event(effect)).count();
        self.positions_of_events().saturating_add(i64::try_from(others).unwrap_or(i64::MAX))
    }

    pub(super) fn positions_of_events(&self) -> i64 {
        i64::try_from(self.events.len()).unwrap_or(i64::MAX)
    }

    pub(super) fn is_by_own_event(&self, effect: &StateEffect) -> bool {
        let is_of = |event: &NewEvent, number| event.number.is(number) && !event.arrival.was_outlier;
        effect.event.as_ref().is_some_and(|number| self.events.iter().any(|event| is_of(event, number)))
    }

    /// The event as it is read from the database afterwards.
    pub(super) fn stored(
        &self,
        event: &NewEvent,
        (sn, position): (EventSn, Position),
        previous_sn: Option<EventSn>,
        countable_total: i64,
    ) -> StoredEvent {
        StoredEvent {
            sn,
            order: TimelineOrder::of(EventSn(position.0)),
            follows_gap: event.arrival.follows_gap,
            event_id: event.event_id.clone(),
            room_sn: self.room_sn,
            type_sn: event.type_sn,
            state_key_sn: event.state_key_sn,
            sender_sn: event.sender_sn,
            origin_server_ts: event.origin_server_ts,
            depth: event.depth,
            countable_total,
            client_json: event.client_json.clone(),
            replaces_sn: event.replaces.as_ref().map(|(replaced, _)| replaced.sn()),
            replaced_json: event.replaces.as_ref().map(|(_, json)| json.clone()),
            redacted_because: event.arrival.redacted_by.as_ref().map(|(_, json)| json.clone()),
            transaction: self.transaction.as_ref().and_then(|it| Some((it.sender.device_sn()?, it.id.clone()))),
            membership: event.membership,
            redacts: event.redacts.as_ref().map(|redaction| RedactedEvent {
                sn: redaction.number.sn(),
                client_json: redaction.client_json.clone(),
                member: redaction.member,
                unread: None,
            }),
            unread: event.is_news().then(|| event.unread.clone()),
            previous_sn,
            sender_erased_at: None,
            unsigned_erased_at: None,
        }
    }
}
