//! Storing the past: events that were fetched after those that follow them.

use std::sync::Arc;

use bytes::Bytes;
use database::TableRows;
use homeserver_core::{EventSn, KeySn, RoomSn, TimelineOrder, Timestamp, TypeSn, UserSn};
use room_engine::state_map::{Chunk, StateMap};

use crate::append::relations::{self, NewRelation, kept_relation};
use crate::append::{WriterHead, load_heads, rows};
use crate::events::Standing;
use crate::unread::MAIN_TIMELINE;
use crate::{Database, Gap, StorageError, Tx, Value, params};

/// An event of the past.
#[derive(Clone, Debug)]
pub struct FetchedEvent {
    /// Its number, if it is stored without a place in the room.
    pub stored: Option<EventSn>,
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
    /// The state event that it replaces.
    pub replaces_sn: Option<EventSn>,
    /// The event that redacted it before it came.
    pub redacted_by: Option<EventSn>,
    /// What became of it when it was checked.
    pub standing: Standing,
    /// The state after it.
    pub state: StateMap,
    /// Whether events before it are missing here.
    pub follows_gap: bool,
}

/// What an event of the past redacts.
#[derive(Debug)]
pub enum PastRedaction {
    /// An event that is stored.
    Stored {
        /// Its number.
        target: EventSn,
        /// What clients see of it.
        client_json: Bytes,
        /// The rest of the PDU.
        federation_json: Bytes,
        /// The event that it related to.
        relates_to: Option<Box<str>>,
    },
    /// An event that has not come yet, by its ID.
    Awaited(Box<str>),
}

/// Events that fill a gap, or a part of it next to its end.
#[derive(Debug)]
pub struct GapFilling {
    /// The room.
    pub room_sn: RoomSn,
    /// The gap, as it was when the events were asked for.
    pub gap: Gap,
    /// The place of the first event if it is not next to the gap's end. Then the gap stays, up to the events.
    pub detached_at: Option<TimelineOrder>,
    /// The events, the newest first.
    pub events: Vec<FetchedEvent>,
    /// Those of the gap's frontier whose previous events are still missing.
    pub kept_frontier: Vec<EventSn>,
    /// The chunks of their states that may be new.
    pub chunks: Vec<Chunk>,
}

impl Database {
    /// Gives events of the past their places, right before the place of the gap. `false` if something else was written into the gap
    /// since it was read; nothing is stored then.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit, one of the events was stored meanwhile, or there are too many.
    pub async fn fill_gap(&self, filling: GapFilling) -> Result<bool, StorageError> {
        let filling = Arc::new(filling);
        self.write(async move |tx| fill(tx, &filling).await).await
    }

    /// Redacts what an event of the past redacts, or remembers that for when the target comes.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn redact_past(&self, room_sn: RoomSn, by: EventSn, what: PastRedaction) -> Result<(), StorageError> {
        self.write(async move |tx| {
            tx.hold_log().await?;
            match &what {
                PastRedaction::Stored { target, client_json, federation_json, relates_to } => {
                    let sql = "UPDATE events SET client_json = $2, federation_json = $3, \
                           redacted_by = COALESCE(redacted_by, $4) WHERE event_sn = $1";
                    tx.execute(sql, params![*target, client_json, federation_json, by]).await?;
                    match relates_to {
                        Some(target_id) => tx.remove_relation(room_sn, target_id, *target).await,
                        None => Ok(()),
                    }
                }
                PastRedaction::Awaited(target_id) => {
                    let sql = "INSERT INTO awaited_redactions (room_sn, target_id, redaction_sn) VALUES ($1, $2, $3) \
                           ON CONFLICT DO NOTHING";
                    tx.execute(sql, params![room_sn, target_id, by]).await.map(drop)
                }
            }
        })
        .await
    }
}

async fn fill(tx: &mut Tx, filling: &GapFilling) -> Result<bool, StorageError> {
    let GapFilling { room_sn, gap, events, chunks, .. } = filling;
    let new = events.iter().filter(|event| event.stored.is_none()).count();
    // First of all: this takes the lock under which a room is changed.
    tx.reserve_positions(i64::try_from(new.max(1)).unwrap_or(i64::MAX)).await?;
    let heads = load_heads(tx, std::iter::once(*room_sn)).await?;
    if heads.get(room_sn).is_none_or(WriterHead::is_purged) {
        return Err(StorageError::Unavailable(format!("room {room_sn} is being removed")));
    }
    let known = list(&gap.frontier);
    let rest = if filling.detached_at.is_some() { known.as_str() } else { "" };
    let sql = "UPDATE room_gaps SET frontier = $4 WHERE room_sn = $1 AND timeline_order = $2 AND frontier = $3";
    if tx.execute(sql, params![*room_sn, gap.order, &known, rest]).await? == 0 {
        return Ok(false);
    }
    let mut frontier = filling.kept_frontier.clone();
    let (mut inserted, mut placed, mut relations) = (Vec::with_capacity(new), Vec::new(), Vec::new());
    let mut last = gap.order;
    for event in events {
        let sn = match event.stored {
            Some(sn) => sn,
            None => EventSn(tx.next_position().await?.0),
        };
        last = if last == gap.order { filling.detached_at.unwrap_or(last.before()) } else { last.before() };
        frontier.extend(event.follows_gap.then_some(sn));
        relations.extend(event.relation(*room_sn, sn, last));
        match event.stored {
            Some(_) => placed.push(event.placed(sn, last)),
            None => inserted.push(event.row(*room_sn, sn, last)),
        }
    }
    let mut tables = vec![rows::state_chunks(chunks, tx.last_reserved()), TableRows { into: INTO, rows: inserted }];
    let still_missing = list(&frontier);
    if !frontier.is_empty() {
        let row = vec![(*room_sn).into(), last.into(), (&still_missing).into()];
        let into = "room_gaps (room_sn, timeline_order, frontier) \
                    ON CONFLICT (room_sn, timeline_order) DO UPDATE SET frontier = excluded.frontier";
        tables.push(TableRows { into, rows: vec![row] });
    }
    tables.extend(relations::tables(&relations));
    tx.insert_into_tables(&tables).await?;
    tx.execute_rows(PLACE, &placed).await?;
    if let Some(first) = events.last().filter(|_| !frontier.is_empty()) {
        let sql = "UPDATE events SET follows_gap = TRUE WHERE event_id = $1";
        tx.execute(sql, params![&*first.event_id]).await?;
    }
    Ok(true)
}

const INTO: &str = "events (event_sn, event_id, room_sn, type_sn, state_key_sn, sender_sn, origin_server_ts, depth, \
                    countable_total, replaces_sn, redacted_by, client_json, federation_json, standing, state_root, \
                    thread_sn, timeline_order)";

const PLACE: &str = "UPDATE events SET standing = r.standing, state_root = r.state_root, replaces_sn = r.replaces_sn, \
                     timeline_order = r.timeline_order, thread_sn = r.thread_sn \
                     FROM ROWS(event_sn, standing, state_root, replaces_sn, timeline_order, thread_sn) r \
                     WHERE events.event_sn = r.event_sn AND events.standing IN (2, 4) AND events.state_root IS NULL";

fn list(events: &[EventSn]) -> String {
    let numbers: Vec<String> = events.iter().map(ToString::to_string).collect();
    numbers.join(",")
}

impl FetchedEvent {
    fn row(&self, room_sn: RoomSn, sn: EventSn, order: TimelineOrder) -> Vec<Value<'_>> {
        vec![
            sn.into(),
            (&self.event_id).into(),
            room_sn.into(),
            self.type_sn.into(),
            self.state_key_sn.into(),
            self.sender_sn.into(),
            self.origin_server_ts.into(),
            self.depth.into(),
            0_i64.into(),
            self.replaces_sn.into(),
            self.redacted_by.into(),
            (&self.client_json).into(),
            (&self.federation_json).into(),
            self.standing.code().into(),
            Value::Blob(Some(self.state.root_bytes())),
            MAIN_TIMELINE.into(),
            order.into(),
        ]
    }

    /// What it relates to, if it is in the timeline.
    fn relation(&self, room_sn: RoomSn, event_sn: EventSn, order: TimelineOrder) -> Option<NewRelation<'_>> {
        let relation = kept_relation(&self.client_json).filter(|_| self.standing.is_in_timeline())?;
        let Self { type_sn, sender_sn, .. } = *self;
        Some(NewRelation { room_sn, order, event_sn, type_sn, sender_sn, relation })
    }

    fn placed(&self, sn: EventSn, order: TimelineOrder) -> Vec<Value<'_>> {
        vec![
            sn.into(),
            self.standing.code().into(),
            Value::Blob(Some(self.state.root_bytes())),
            self.replaces_sn.into(),
            order.into(),
            MAIN_TIMELINE.into(),
        ]
    }
}
