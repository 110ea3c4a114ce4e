//! Events as parts of a room's graph: whole, with their standing, the state after them and their auth events.

use std::collections::BTreeSet;

use database::Row;
use homeserver_core::{EventSn, RoomSn, TimelineOrder};
use room_engine::state_map::{Place, StateMap};

use crate::events::{Standing, StoredPdu, order_of, read_pdu};
use crate::state_chunks::read_state;
use crate::{Database, StorageError, params};

/// Events that are read in one statement.
const EVENTS_AT_ONCE: usize = 1_000;

/// An event of a room's graph.
#[derive(Clone, Debug)]
pub struct GraphEvent {
    /// The event.
    pub stored: StoredPdu,
    /// What became of it when it was checked.
    pub standing: Standing,
    /// The state after it; `None` if that has not been worked out.
    pub state: Option<StateMap>,
    /// Its auth events in their order, if it is a state event that was not rejected.
    pub auth_events: Vec<EventSn>,
    /// Whether it has a place in the index of auth chains, as every state event has.
    pub is_indexed: bool,
    /// How many events the room's main timeline has up to and including this one that usually notify.
    pub countable_total: i64,
}

macro_rules! graph_query {
    ($condition:expr) => {
        concat!(
            "SELECT e.event_sn, e.event_id, e.room_sn, e.client_json, e.federation_json, e.standing, e.state_root, ",
            "a.auth_events, e.countable_total, ",
            order_of!("e."),
            " FROM events e ",
            "LEFT JOIN auth_chain_events a ON a.event_sn = e.event_sn ",
            $condition
        )
    };
}

/// A state event, and its place in states.
#[derive(Clone, Copy, Debug)]
pub struct StateEventPlace {
    /// The event.
    pub event_sn: EventSn,
    /// Its type and state key.
    pub place: Place,
    /// What became of it when it was checked.
    pub standing: Standing,
}

fn read_standing(row: &Row<'_>, column: usize) -> Result<Standing, StorageError> {
    let standing: i64 = row.get(column)?;
    Standing::from_code(standing)
        .ok_or_else(|| StorageError::Value { column, reason: format!("no standing is stored as {standing}") })
}

fn read_graph_event(row: &Row<'_>) -> Result<GraphEvent, StorageError> {
    let list: Option<String> = row.get(7)?;
    Ok(GraphEvent {
        stored: StoredPdu {
            sn: row.get(0)?,
            event_id: row.get(1)?,
            room_sn: row.get(2)?,
            client_json: row.get(3)?,
            federation_json: row.get(4)?,
            order: row.get(9)?,
        },
        standing: read_standing(row, 5)?,
        state: read_state(row, 6)?,
        auth_events: numbers(list.as_deref().unwrap_or_default())?,
        is_indexed: list.is_some(),
        countable_total: row.get(8)?,
    })
}

/// The numbers of a list that is separated by commas.
pub(crate) fn numbers(list: &str) -> Result<Vec<EventSn>, StorageError> {
    let parse = |number: &str| {
        let invalid = |error| StorageError::Corrupt(format!("{number:?} is no number of an event: {error}"));
        number.parse().map(EventSn).map_err(invalid)
    };
    list.split(',').filter(|number| !number.is_empty()).map(parse).collect()
}

impl Database {
    /// The events with these numbers, in no order, as far as they exist.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn graph_events(&self, events: &[EventSn]) -> Result<Vec<GraphEvent>, StorageError> {
        let mut found = Vec::with_capacity(events.len());
        for events in events.chunks(EVENTS_AT_ONCE) {
            let sns: Vec<i64> = events.iter().map(|sn| sn.0).collect();
            let sql = graph_query!("WHERE e.event_sn IN LIST($1)");
            found.extend(self.query(sql, params![&sns], read_graph_event).await?);
        }
        Ok(found)
    }

    /// The events of a room with these IDs, in no order, as far as they are known.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn graph_events_by_id(
        &self,
        room_sn: RoomSn,
        event_ids: &[String],
    ) -> Result<Vec<GraphEvent>, StorageError> {
        let mut found = Vec::with_capacity(event_ids.len());
        for event_ids in event_ids.chunks(EVENTS_AT_ONCE) {
            let sql = graph_query!("WHERE e.event_id IN LIST($1) AND e.room_sn = $2");
            found.extend(self.query(sql, params![event_ids, room_sn], read_graph_event).await?);
        }
        Ok(found)
    }

    /// The event with this ID, in whatever room.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn graph_event(&self, event_id: &str) -> Result<Option<GraphEvent>, StorageError> {
        self.query_optional(graph_query!("WHERE e.event_id = $1"), params![event_id], read_graph_event).await
    }

    /// Up to `limit` events of a room at places up to `until`, the last first, whatever became of them.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn graph_events_before(
        &self,
        room_sn: RoomSn,
        until: TimelineOrder,
        limit: i64,
    ) -> Result<Vec<GraphEvent>, StorageError> {
        let sql = graph_query!(concat!(
            "WHERE e.room_sn = $1 AND ",
            order_of!("e."),
            " <= $2 ORDER BY e.room_sn DESC, ",
            order_of!("e."),
            " DESC LIMIT $3"
        ));
        self.query(sql, params![room_sn, until, limit], read_graph_event).await
    }

    /// The auth events of state events, each once.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn auth_events_of(&self, events: &[EventSn]) -> Result<Vec<EventSn>, StorageError> {
        let mut found = BTreeSet::new();
        for events in events.chunks(EVENTS_AT_ONCE) {
            let sns: Vec<i64> = events.iter().map(|sn| sn.0).collect();
            let sql = "SELECT auth_events FROM auth_chain_events WHERE event_sn IN LIST($1)";
            for list in self.query(sql, params![&sns], |row| row.get::<String>(0)).await? {
                found.extend(numbers(&list)?);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// The IDs of the events with these numbers, in no order.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn event_ids(&self, events: &[EventSn]) -> Result<Vec<(EventSn, Box<str>)>, StorageError> {
        let mut found = Vec::with_capacity(events.len());
        for events in events.chunks(EVENTS_AT_ONCE) {
            let sns: Vec<i64> = events.iter().map(|sn| sn.0).collect();
            let sql = "SELECT event_sn, event_id FROM events WHERE event_sn IN LIST($1)";
            found.extend(self.query(sql, params![&sns], |row| Ok((row.get(0)?, row.get(1)?))).await?);
        }
        Ok(found)
    }

    /// The states after the events with these numbers, as far as they are known.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn states_after(&self, events: &[i64]) -> Result<Vec<(EventSn, StateMap)>, StorageError> {
        let sql = "SELECT event_sn, state_root FROM events WHERE event_sn IN LIST($1)";
        let read = |row: &Row<'_>| Ok((row.get(0)?, read_state(row, 1)?));
        let states = self.query(sql, params![events], read).await?;
        Ok(states.into_iter().filter_map(|(sn, state)| Some((sn, state?))).collect())
    }

    /// Where the state events of a room with these IDs are in states, in no order, as far as they are known.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn state_event_places(
        &self,
        room_sn: RoomSn,
        event_ids: &[String],
    ) -> Result<Vec<StateEventPlace>, StorageError> {
        let mut found = Vec::with_capacity(event_ids.len());
        for event_ids in event_ids.chunks(EVENTS_AT_ONCE) {
            let sql = "SELECT event_sn, type_sn, state_key_sn, standing FROM events \
                       WHERE event_id IN LIST($1) AND room_sn = $2 AND state_key_sn IS NOT NULL";
            let read = |row: &Row<'_>| {
                let place = Place::new(row.get(1)?, row.get(2)?);
                Ok(StateEventPlace { event_sn: row.get(0)?, place, standing: read_standing(row, 3)? })
            };
            found.extend(self.query(sql, params![event_ids, room_sn], read).await?);
        }
        Ok(found)
    }

    /// Which of these IDs are those of stored events of a room, whatever became of them.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn known_events(&self, room_sn: RoomSn, event_ids: &[String]) -> Result<Vec<Box<str>>, StorageError> {
        let mut found = Vec::with_capacity(event_ids.len());
        for event_ids in event_ids.chunks(EVENTS_AT_ONCE) {
            let sql = "SELECT event_id FROM events WHERE event_id IN LIST($1) AND room_sn = $2";
            found.extend(self.query(sql, params![event_ids, room_sn], |row| row.get(0)).await?);
        }
        Ok(found)
    }

    /// Which of these IDs are those of events of other rooms.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn ids_of_other_rooms(
        &self,
        room_sn: RoomSn,
        event_ids: &[String],
    ) -> Result<Vec<Box<str>>, StorageError> {
        let mut found = Vec::new();
        for event_ids in event_ids.chunks(EVENTS_AT_ONCE) {
            let sql = "SELECT event_id FROM events WHERE event_id IN LIST($1) AND room_sn <> $2";
            found.extend(self.query(sql, params![event_ids, room_sn], |row| row.get(0)).await?);
        }
        Ok(found)
    }

    /// The redactions of these events of a room that came before the events themselves: the event's ID, and the redaction.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn awaited_redactions(
        &self,
        room_sn: RoomSn,
        event_ids: &[String],
    ) -> Result<Vec<(Box<str>, StoredPdu)>, StorageError> {
        let mut found = Vec::new();
        for event_ids in event_ids.chunks(EVENTS_AT_ONCE) {
            let sql = concat!(
                "SELECT e.event_sn, e.event_id, e.room_sn, e.client_json, e.federation_json, ",
                order_of!("e."),
                ", a.target_id FROM awaited_redactions a JOIN events e ON e.event_sn = a.redaction_sn \
                 WHERE a.room_sn = $2 AND a.target_id IN LIST($1) ORDER BY e.event_sn"
            );
            let read = |row: &Row<'_>| Ok((row.get(6)?, read_pdu(row)?));
            found.extend(self.query(sql, params![event_ids, room_sn], read).await?);
        }
        Ok(found)
    }

    /// The state event that an event replaced.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn replaced_by(&self, event: EventSn) -> Result<Option<EventSn>, StorageError> {
        let sql = "SELECT replaces_sn FROM events WHERE event_sn = $1";
        Ok(self.query_optional(sql, params![event], |row| row.get(0)).await?.flatten())
    }

    /// Whether there is an event with this ID in any room.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn is_event_id_taken(&self, event_id: &str) -> Result<bool, StorageError> {
        let sql = "SELECT 1 FROM events WHERE event_id = $1";
        Ok(self.query_optional(sql, params![event_id], |_| Ok(())).await?.is_some())
    }

    /// Up to `limit` events of a room at places after `after`, in the order of its timeline, whatever became of them. Those
    /// without a place come first, in the order in which the server learned of them.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn graph_events_after(
        &self,
        room_sn: RoomSn,
        after: TimelineOrder,
        limit: i64,
    ) -> Result<Vec<GraphEvent>, StorageError> {
        let sql = graph_query!(concat!(
            "WHERE e.room_sn = $1 AND ",
            order_of!("e."),
            " > $2 ORDER BY e.room_sn, ",
            order_of!("e."),
            " LIMIT $3"
        ));
        self.query(sql, params![room_sn, after, limit], read_graph_event).await
    }

    /// The rooms whose states have not been worked out, because they are older than stored states.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn rooms_without_state(&self) -> Result<Vec<RoomSn>, StorageError> {
        self.query("SELECT room_sn FROM room_heads WHERE state_root IS NULL ORDER BY room_sn", &[], |row| row.get(0))
            .await
    }
}
