//! Appending events to rooms: everything that follows from them is written in the transaction that holds them, each table
//! with one statement for the whole batch.

mod head;
pub(crate) mod rows;
pub(crate) mod unread;

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use homeserver_core::{EventSn, KeySn, Position, RoomSn, Timestamp, TypeSn, UserSn};
use rand::Rng as _;
use room_engine::auth_chain::IndexedEvent;
use room_engine::state_map::{Chunk, Place, StateMap};

use crate::client_transactions::ClientTransaction;
use crate::events::{RedactedEvent, Standing, StoredEvent};
use crate::log::LogEntry;
use crate::transaction::Tx;
use crate::unread::Unread;
use crate::writer::PendingAppend;
use crate::{Membership, StorageError, auth_chains, params};

pub(crate) use head::Head;
use head::load_heads;

/// An event's number, which it has from the moment its transaction runs. Shared by those who build on the event before that.
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

    fn assign(&self, sn: EventSn) {
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
    /// What it is to those who have not read it.
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

/// A write that is part of somebody else's transaction. It may run more than once.
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

/// Whether transaction IDs that were used before are expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Repetitions {
    /// Hardly ever: a repetition fails the whole batch on the table's key, which saves a question for all others.
    Unlikely,
    /// Possible, after such a failure: the database is asked before anything is written.
    LookedUp,
}

pub(crate) async fn append_all(
    tx: &mut Tx,
    appends: &mut [&mut PendingAppend],
    repetitions: Repetitions,
) -> Result<(), StorageError> {
    // First of all: this takes the lock under which heads are compared.
    tx.reserve_positions(appends.iter().map(|pending| pending.append.positions()).sum()).await?;
    let mut heads = load_heads(tx, appends).await?;
    let mut used = match repetitions {
        Repetitions::Unlikely => HashSet::new(),
        Repetitions::LookedUp => used_transactions(tx, appends).await?,
    };

    let mut written: Vec<Written<'_>> = Vec::with_capacity(appends.len());
    let mut chunks = Vec::new();
    for pending in appends.iter_mut() {
        let PendingAppend { append, outcome, .. } = &mut **pending;
        let head = heads.entry(append.room_sn).or_insert_with(|| Head::of_new_room(append));
        let is_repeated =
            repetitions == Repetitions::LookedUp && append.transaction_key().is_some_and(|key| !used.insert(key));
        if head.version != append.expected_version || is_repeated {
            *outcome = Some(AppendOutcome::Stale);
            continue;
        }
        let new = write_append(tx, append, head, &mut chunks).await?;
        *outcome = Some(AppendOutcome::Appended(new.events.iter().map(|event| event.stored.clone()).collect()));
        written.push(new);
    }

    let indexed: Vec<IndexedEvent> = written.iter().flat_map(Written::indexed_events).collect();
    let new_in_chains = auth_chains::index(tx, &indexed).await?;
    let auth_event_lists: Vec<String> = indexed.iter().map(auth_chains::auth_event_list).collect();
    let unread = unread::of_all(tx, &written).await?;
    let mut tables = rows::of_all(&written, &heads, &chunks, tx.last_reserved());
    tables.extend(unread.tables());
    tables.extend(auth_chains::rows(&indexed, &new_in_chains, &auth_event_lists));
    tx.insert_into_tables(&tables).await?;
    rows::write_removals(tx, rows::each_effect(&written)).await?;
    rows::write_redactions(tx, &written).await?;
    tx.remember_heads(heads);
    for append in &written {
        if let Some(step) = &append.append.also {
            step.run(tx).await?;
        }
    }
    for append in written {
        append.publish(tx);
    }
    Ok(())
}

/// What an append comes to, once its events have their numbers.
struct Written<'a> {
    append: &'a Append,
    events: Vec<WrittenEvent<'a>>,
    effects: Vec<Effect>,
}

/// An event, as it is shown and with the state after it.
struct WrittenEvent<'a> {
    event: &'a NewEvent,
    stored: Arc<StoredEvent>,
    state: StateMap,
}

/// A change of the current state, and where in the log it stands.
pub(crate) struct Effect {
    pub(crate) position: Position,
    pub(crate) place: Place,
    pub(crate) event_sn: Option<EventSn>,
    pub(crate) replaces: Option<EventSn>,
    pub(crate) membership: Option<(UserSn, Membership)>,
    /// Whether the user was in the room before and still is: only the profile has changed.
    pub(crate) stays_joined: bool,
}

impl Effect {
    pub(crate) fn of_resolution(effect: &StateEffect, position: Position) -> Self {
        let StateEffect { place, replaces, membership, membership_before, .. } = *effect;
        let stays_joined =
            membership_before == Some(Membership::Join) && matches!(membership, Some((_, Membership::Join)));
        let event_sn = effect.event.as_ref().map(EventNumber::sn);
        Self { position, place, event_sn, replaces, membership, stays_joined }
    }
}

/// The key of `client_transactions`: sender, room, endpoint, transaction ID.
type TransactionKey = (i64, RoomSn, i64, Box<str>);

impl Append {
    fn transaction_key(&self) -> Option<TransactionKey> {
        let ClientTransaction { sender, endpoint, id } = self.transaction.as_ref()?;
        Some((sender.code(), self.room_sn, endpoint.code(), id.clone()))
    }

    /// How many positions of the log it takes: one for each event, and one for each change of the state by none of them.
    pub(crate) fn positions(&self) -> i64 {
        let resolved = self.resolved.as_deref().unwrap_or_default();
        let others = resolved.iter().filter(|effect| !self.is_by_own_event(effect)).count();
        i64::try_from(self.events.len() + others).unwrap_or(i64::MAX)
    }

    fn is_by_own_event(&self, effect: &StateEffect) -> bool {
        effect.event.as_ref().is_some_and(|number| self.events.iter().any(|event| event.number.is(number)))
    }
}

impl Written<'_> {
    /// The events that can be in auth chains. One that was rejected permits nothing, and may name as its auth events what
    /// has no place in an auth chain.
    fn indexed_events(&self) -> impl Iterator<Item = IndexedEvent> {
        let can_permit = |event: &NewEvent| event.state_key_sn.is_some() && event.standing != Standing::Rejected;
        self.events.iter().filter(move |written| can_permit(written.event)).map(|written| IndexedEvent {
            event_sn: written.stored.sn,
            auth_events: written.event.auth_events.iter().map(EventNumber::sn).collect(),
            replaces: written.event.previous_in_chain.as_ref().map(EventNumber::sn),
        })
    }

    fn publish(self, tx: &mut Tx) {
        let Self { append, events, effects } = self;
        let room_sn = append.room_sn;
        let mut by_position: HashMap<Position, &Effect> = effects.iter().map(|it| (it.position, it)).collect();
        for WrittenEvent { event, stored, .. } in events {
            if event.standing != Standing::Accepted {
                continue;
            }
            let position = stored.sn.position();
            if by_position.remove(&position).is_some() || event.state_key_sn.is_none() {
                tx.publish(LogEntry::Event(stored));
            } else {
                // It lost against another event: followers must not take it for a change of the state.
                tx.publish(LogEntry::Event(Arc::new(StoredEvent { membership: None, ..(*stored).clone() })));
                tx.publish(LogEntry::StateResolved { position, room_sn, membership: None });
            }
        }
        for effect in by_position.into_values() {
            let Effect { position, membership, .. } = *effect;
            tx.publish(LogEntry::StateResolved { position, room_sn, membership });
        }
    }
}

/// Which of the transaction IDs were used before.
async fn used_transactions(
    tx: &mut Tx,
    appends: &[&mut PendingAppend],
) -> Result<HashSet<TransactionKey>, StorageError> {
    let keys: Vec<_> = appends.iter().filter_map(|pending| pending.append.transaction_key()).collect();
    let senders: Vec<i64> = keys.iter().map(|(sender, ..)| *sender).collect();
    let ids: Vec<String> = keys.into_iter().map(|(.., id)| id.into_string()).collect();
    let sql = "SELECT sender, room_sn, endpoint, transaction_id FROM client_transactions \
               WHERE sender IN LIST($1) AND transaction_id IN LIST($2)";
    let used =
        tx.query(sql, params![&senders, &ids], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).await?;
    Ok(used.into_iter().collect())
}

/// Gives the events their numbers and their states, and moves the head behind them.
async fn write_append<'a>(
    tx: &mut Tx,
    append: &'a Append,
    head: &mut Head,
    chunks: &mut Vec<Chunk>,
) -> Result<Written<'a>, StorageError> {
    let mut events = Vec::with_capacity(append.events.len());
    let mut effects = Vec::new();
    let mut state = head.state;
    for event in &append.events {
        let sn = EventSn(tx.next_position().await?.0);
        event.number.assign(sn);
        if let Some(before) = &event.state_before {
            state = apply(tx, before.base, &before.changes, chunks).await?;
        }
        let place = event.state_key_sn.map(|key_sn| Place::new(event.type_sn, key_sn));
        if let Some(place) = place.filter(|_| event.standing != Standing::Rejected) {
            state = apply(tx, state, &[(place, Some(sn))], chunks).await?;
            if append.resolved.is_none() {
                effects.push(Effect {
                    position: sn.position(),
                    place,
                    event_sn: Some(sn),
                    replaces: event.replaces.as_ref().map(|(replaced, _)| replaced.sn()),
                    membership: event.membership,
                    stays_joined: unread::stays_joined(event),
                });
            }
        }
        let previous_sn = (head.last > 0).then_some(EventSn(head.last));
        if event.standing == Standing::Accepted {
            head.countable_total += i64::from(event.unread.usual.notify && event.unread.thread.is_none());
            head.last = sn.0;
        }
        if event.standing.is_followed() {
            head.depth = head.depth.max(event.depth);
        }
        let stored = Arc::new(append.stored(event, sn, previous_sn, head.countable_total));
        events.push(WrittenEvent { event, stored, state });
    }
    if let Some(resolved) = &append.resolved {
        state = resolve(tx, append, head, resolved, &mut effects, chunks).await?;
    }
    head.advance(append, state);
    Ok(Written { append, events, effects })
}

/// Changes the current state to what it was resolved to.
async fn resolve(
    tx: &mut Tx,
    append: &Append,
    head: &mut Head,
    resolved: &[StateEffect],
    effects: &mut Vec<Effect>,
    chunks: &mut Vec<Chunk>,
) -> Result<StateMap, StorageError> {
    for effect in resolved {
        let event_sn = effect.event.as_ref().map(EventNumber::sn);
        let position = match event_sn {
            Some(sn) if append.is_by_own_event(effect) => sn.position(),
            _ => tx.next_position().await?,
        };
        head.last = head.last.max(position.0);
        effects.push(Effect::of_resolution(effect, position));
    }
    let changes: Vec<_> = resolved.iter().map(|it| (it.place, it.event.as_ref().map(EventNumber::sn))).collect();
    apply(tx, head.state, &changes, chunks).await
}

async fn apply(
    tx: &mut Tx,
    state: StateMap,
    changes: &[(Place, Option<EventSn>)],
    chunks: &mut Vec<Chunk>,
) -> Result<StateMap, StorageError> {
    let applied = tx.with_chunks(|loaded| state.apply(loaded, changes)).await?;
    tx.chunks_mut().extend(applied.new_chunks.iter().cloned());
    chunks.extend(applied.new_chunks);
    Ok(applied.map)
}

impl Append {
    fn stored(&self, event: &NewEvent, sn: EventSn, previous_sn: Option<EventSn>, countable_total: i64) -> StoredEvent {
        StoredEvent {
            sn,
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
            redacted_because: None,
            transaction: self.transaction.as_ref().and_then(|it| Some((it.sender.device_sn()?, it.id.clone()))),
            membership: event.membership,
            redacts: event.redacts.as_ref().map(|redaction| RedactedEvent {
                sn: redaction.number.sn(),
                client_json: redaction.client_json.clone(),
                member: redaction.member,
                unread: None,
            }),
            unread: (event.standing == Standing::Accepted).then(|| event.unread.clone()),
            previous_sn,
            sender_erased_at: None,
            unsigned_erased_at: None,
        }
    }
}
