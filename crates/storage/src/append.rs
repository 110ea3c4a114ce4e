//! Appending events to rooms: everything that follows from them is written in the transaction that holds them, each table
//! with one statement for the whole batch.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use homeserver_core::{DeviceSn, EventSn, KeySn, RoomSn, Timestamp, TypeSn, UserSn};

use crate::events::StoredEvent;
use crate::log::LogEntry;
use crate::transaction::{TableRows, Tx};
use crate::writer::PendingAppend;
use crate::{Membership, StorageError, params};

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
    /// Whether it counts as unread for those who have not read it.
    pub is_countable: bool,
    /// The state event that it replaces, with its client JSON.
    pub replaces: Option<(EventNumber, Bytes)>,
    /// Whose membership it changes, and into what.
    pub membership: Option<(UserSn, Membership)>,
    /// The event that it redacts, with that event's redacted client JSON.
    pub redacts: Option<(EventNumber, Bytes)>,
}

/// Events of one room that are written together.
pub struct Append {
    /// The room.
    pub room_sn: RoomSn,
    /// Its room version.
    pub room_version: Box<str>,
    /// The version of the room's head that the events were built on.
    pub expected_version: i64,
    /// The events, in order; each was built on the one before.
    pub events: Vec<NewEvent>,
    /// The device and transaction ID that sent the (then single) event.
    pub transaction: Option<(DeviceSn, Box<str>)>,
    /// By how much the number of joined members changes.
    pub joined_change: i64,
    /// By how much the number of invited members changes.
    pub invited_change: i64,
    /// Further writes that belong to the same transaction.
    pub also: Option<Box<dyn Step>>,
}

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

/// A room's end, as the writer moves it.
#[derive(Clone)]
pub(crate) struct Head {
    version: i64,
    depth: i64,
    last: i64,
    countable_total: i64,
    joined_count: i64,
    invited_count: i64,
    room_version: Box<str>,
    extremities: String,
    changed: bool,
}

pub(crate) async fn append_all(
    tx: &mut Tx,
    appends: &mut [&mut PendingAppend],
    repetitions: Repetitions,
) -> Result<(), StorageError> {
    let events: usize = appends.iter().map(|pending| pending.append.events.len()).sum();
    // First of all: this takes the lock under which heads are compared.
    tx.reserve_positions(i64::try_from(events).unwrap_or(i64::MAX)).await?;
    let mut heads = load_heads(tx, appends).await?;
    let mut used = match repetitions {
        Repetitions::Unlikely => HashSet::new(),
        Repetitions::LookedUp => used_transactions(tx, appends).await?,
    };

    let mut accepted: Vec<(&Append, Vec<Arc<StoredEvent>>)> = Vec::with_capacity(appends.len());
    for pending in appends.iter_mut() {
        let PendingAppend { append, outcome, .. } = &mut **pending;
        let head = heads.entry(append.room_sn).or_insert_with(|| Head::of_new_room(append));
        let is_repeated =
            repetitions == Repetitions::LookedUp && append.transaction_key().is_some_and(|key| !used.insert(key));
        if head.version != append.expected_version || is_repeated {
            *outcome = Some(AppendOutcome::Stale);
            continue;
        }
        let stored = number_events(tx, append, head).await?;
        *outcome = Some(AppendOutcome::Appended(stored.clone()));
        accepted.push((&*append, stored));
    }

    let [state_changes, current_state] = state_rows(&accepted);
    let [membership_changes, memberships] = membership_rows(&accepted);
    tx.insert_into_tables(&[
        event_rows(&accepted),
        state_changes,
        current_state,
        membership_changes,
        memberships,
        transaction_rows(&accepted),
        read_position_rows(&accepted),
        head_rows(&heads),
    ])
    .await?;
    write_redactions(tx, &accepted).await?;
    tx.remember_heads(heads);
    for (append, _) in &accepted {
        if let Some(step) = &append.also {
            step.run(tx).await?;
        }
    }
    for (_, stored) in accepted {
        stored.into_iter().for_each(|event| tx.publish(LogEntry::Event(event)));
    }
    Ok(())
}

type TransactionKey = (DeviceSn, RoomSn, TypeSn, Box<str>);

impl Append {
    fn transaction_key(&self) -> Option<TransactionKey> {
        let (device_sn, id) = self.transaction.as_ref()?;
        Some((*device_sn, self.room_sn, self.events.first()?.type_sn, id.clone()))
    }
}

/// Which of the transaction IDs were used before.
async fn used_transactions(
    tx: &mut Tx,
    appends: &[&mut PendingAppend],
) -> Result<HashSet<TransactionKey>, StorageError> {
    let keys: Vec<_> = appends.iter().filter_map(|pending| pending.append.transaction_key()).collect();
    let devices: Vec<i64> = keys.iter().map(|(device_sn, ..)| device_sn.0).collect();
    let ids: Vec<String> = keys.into_iter().map(|(.., id)| id.into_string()).collect();
    let sql = "SELECT device_sn, room_sn, type_sn, transaction_id FROM client_transactions \
               WHERE device_sn IN LIST($1) AND transaction_id IN LIST($2)";
    let used =
        tx.query(sql, params![&devices, &ids], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).await?;
    Ok(used.into_iter().collect())
}

impl Head {
    fn of_new_room(append: &Append) -> Self {
        Self {
            version: 0,
            depth: 0,
            last: 0,
            countable_total: 0,
            joined_count: 0,
            invited_count: 0,
            room_version: append.room_version.clone(),
            extremities: String::new(),
            changed: false,
        }
    }

    /// As the next transaction finds it; `None` if the room has no events.
    pub(crate) fn settled(mut self) -> Option<Self> {
        self.changed = false;
        (self.version > 0).then_some(self)
    }
}

async fn load_heads(tx: &mut Tx, appends: &[&mut PendingAppend]) -> Result<HashMap<RoomSn, Head>, StorageError> {
    let mut heads = HashMap::with_capacity(appends.len());
    let mut rooms: Vec<i64> = Vec::new();
    for room_sn in appends.iter().map(|pending| pending.append.room_sn) {
        match tx.known_head(room_sn) {
            Some(head) => drop(heads.insert(room_sn, head)),
            None => rooms.push(room_sn.0),
        }
    }
    if rooms.is_empty() {
        return Ok(heads);
    }
    rooms.sort_unstable();
    rooms.dedup();
    let sql = "SELECT room_sn, head_version, depth, last_event_sn, countable_total, joined_count, invited_count, \
               room_version, extremities FROM room_heads WHERE room_sn IN LIST($1)";
    let loaded = tx
        .query(sql, params![&rooms], |row| {
            let head = Head {
                version: row.get(1)?,
                depth: row.get(2)?,
                last: row.get(3)?,
                countable_total: row.get(4)?,
                joined_count: row.get(5)?,
                invited_count: row.get(6)?,
                room_version: row.get(7)?,
                extremities: row.get(8)?,
                changed: false,
            };
            Ok((row.get(0)?, head))
        })
        .await?;
    heads.extend(loaded);
    Ok(heads)
}

/// Gives the events their numbers and moves the head behind them.
async fn number_events(tx: &mut Tx, append: &Append, head: &mut Head) -> Result<Vec<Arc<StoredEvent>>, StorageError> {
    let mut stored = Vec::with_capacity(append.events.len());
    for event in &append.events {
        let sn = EventSn(tx.next_position().await?.0);
        event.number.assign(sn);
        head.countable_total += i64::from(event.is_countable);
        head.depth = head.depth.max(event.depth);
        head.last = sn.0;
        stored.push(Arc::new(StoredEvent {
            sn,
            event_id: event.event_id.clone(),
            room_sn: append.room_sn,
            type_sn: event.type_sn,
            state_key_sn: event.state_key_sn,
            sender_sn: event.sender_sn,
            origin_server_ts: event.origin_server_ts,
            depth: event.depth,
            countable_total: head.countable_total,
            client_json: event.client_json.clone(),
            replaces_sn: event.replaces.as_ref().map(|(replaced, _)| replaced.sn()),
            replaced_json: event.replaces.as_ref().map(|(_, json)| json.clone()),
            redacted_because: None,
            transaction: append.transaction.clone(),
            membership: event.membership,
            redacts: event.redacts.as_ref().map(|(target, json)| (target.sn(), json.clone())),
        }));
    }
    head.extremities = head.last.to_string();
    head.joined_count += append.joined_change;
    head.invited_count += append.invited_change;
    head.version += 1;
    head.changed = true;
    Ok(stored)
}

type Accepted<'a> = [(&'a Append, Vec<Arc<StoredEvent>>)];

fn each_event<'a>(accepted: &'a Accepted<'a>) -> impl Iterator<Item = (&'a Append, &'a NewEvent, &'a StoredEvent)> {
    accepted.iter().flat_map(|(append, stored)| {
        append.events.iter().zip(stored).map(|(event, stored)| (*append, event, &**stored))
    })
}

fn event_rows<'a>(accepted: &'a Accepted<'a>) -> TableRows<'a> {
    let rows = each_event(accepted)
        .map(|(append, event, stored)| {
            vec![
                stored.sn.into(),
                (&event.event_id).into(),
                append.room_sn.into(),
                event.type_sn.into(),
                event.state_key_sn.into(),
                event.sender_sn.into(),
                event.origin_server_ts.into(),
                event.depth.into(),
                stored.countable_total.into(),
                event.replaces.as_ref().map(|(replaced, _)| replaced.sn()).into(),
                (&event.client_json).into(),
                (&event.federation_json).into(),
            ]
        })
        .collect();
    let into = "events (event_sn, event_id, room_sn, type_sn, state_key_sn, sender_sn, origin_server_ts, depth, \
                countable_total, replaces_sn, client_json, federation_json)";
    TableRows { into, rows }
}

fn state_rows<'a>(accepted: &'a Accepted<'a>) -> [TableRows<'a>; 2] {
    let mut changes = Vec::new();
    let mut current = HashMap::new();
    for (append, event, stored) in each_event(accepted) {
        let Some(key_sn) = event.state_key_sn else { continue };
        changes.push(vec![
            append.room_sn.into(),
            stored.sn.into(),
            event.type_sn.into(),
            key_sn.into(),
            stored.sn.into(),
            event.replaces.as_ref().map(|(replaced, _)| replaced.sn()).into(),
        ]);
        current.insert((append.room_sn, event.type_sn, key_sn), stored.sn);
    }
    let changes_into = "state_changes (room_sn, position, type_sn, key_sn, event_sn, replaces_sn)";
    let rows = current
        .into_iter()
        .map(|((room_sn, type_sn, key_sn), sn)| vec![room_sn.into(), type_sn.into(), key_sn.into(), sn.into()])
        .collect();
    let into = "current_state (room_sn, type_sn, key_sn, event_sn) \
                ON CONFLICT (room_sn, type_sn, key_sn) DO UPDATE SET event_sn = excluded.event_sn";
    [TableRows { into: changes_into, rows: changes }, TableRows { into, rows }]
}

fn membership_rows<'a>(accepted: &'a Accepted<'a>) -> [TableRows<'a>; 2] {
    let mut changes = Vec::new();
    let mut current = HashMap::new();
    for (append, event, stored) in each_event(accepted) {
        let Some((user_sn, membership)) = event.membership else { continue };
        let code = membership.code();
        changes.push(vec![user_sn.into(), stored.sn.into(), append.room_sn.into(), code.into()]);
        current.insert((append.room_sn, user_sn), (code, stored.sn));
    }
    let changes_into = "membership_changes (user_sn, position, room_sn, membership)";
    let rows = current
        .into_iter()
        .map(|((room_sn, user_sn), (code, sn))| {
            vec![room_sn.into(), user_sn.into(), code.into(), sn.into(), false.into()]
        })
        .collect();
    let into = "memberships (room_sn, user_sn, membership, event_sn, is_forgotten) ON CONFLICT (room_sn, user_sn) \
                DO UPDATE SET membership = excluded.membership, event_sn = excluded.event_sn, is_forgotten = FALSE";
    [TableRows { into: changes_into, rows: changes }, TableRows { into, rows }]
}

fn transaction_rows<'a>(accepted: &'a Accepted<'a>) -> TableRows<'a> {
    let rows = each_event(accepted)
        .filter_map(|(append, event, stored)| {
            let (device_sn, transaction_id) = append.transaction.as_ref()?;
            Some(vec![
                (*device_sn).into(),
                append.room_sn.into(),
                event.type_sn.into(),
                transaction_id.into(),
                stored.sn.into(),
            ])
        })
        .collect();
    TableRows { into: "client_transactions (device_sn, room_sn, type_sn, transaction_id, event_sn)", rows }
}

/// Whoever sends into a room has read it up to there.
fn read_position_rows<'a>(accepted: &'a Accepted<'a>) -> TableRows<'a> {
    let mut read = HashMap::new();
    for (append, event, stored) in each_event(accepted) {
        read.insert((event.sender_sn, append.room_sn), (stored.countable_total, stored.sn));
    }
    let rows = read
        .into_iter()
        .map(|((user_sn, room_sn), (total, sn))| vec![user_sn.into(), room_sn.into(), total.into(), sn.into()])
        .collect();
    let into = "read_positions (user_sn, room_sn, countable_total, position) ON CONFLICT (user_sn, room_sn) \
                DO UPDATE SET countable_total = excluded.countable_total, position = excluded.position";
    TableRows { into, rows }
}

async fn write_redactions(tx: &mut Tx, accepted: &Accepted<'_>) -> Result<(), StorageError> {
    for (_, _, stored) in each_event(accepted) {
        if let Some((target, redacted)) = &stored.redacts {
            let sql = "UPDATE events SET client_json = $2, redacted_by = $3 WHERE event_sn = $1";
            tx.execute(sql, params![*target, redacted, stored.sn]).await?;
        }
    }
    Ok(())
}

fn head_rows(heads: &HashMap<RoomSn, Head>) -> TableRows<'_> {
    let rows = heads
        .iter()
        .filter(|(_, head)| head.changed)
        .map(|(room_sn, head)| {
            vec![
                (*room_sn).into(),
                (&head.room_version).into(),
                head.version.into(),
                head.depth.into(),
                head.last.into(),
                (&head.extremities).into(),
                head.countable_total.into(),
                head.joined_count.into(),
                head.invited_count.into(),
            ]
        })
        .collect();
    let into = "room_heads (room_sn, room_version, head_version, depth, last_event_sn, extremities, countable_total, \
                joined_count, invited_count) ON CONFLICT (room_sn) DO UPDATE SET head_version = excluded.head_version, \
                depth = excluded.depth, last_event_sn = excluded.last_event_sn, extremities = excluded.extremities, \
                countable_total = excluded.countable_total, joined_count = excluded.joined_count, \
                invited_count = excluded.invited_count";
    TableRows { into, rows }
}
