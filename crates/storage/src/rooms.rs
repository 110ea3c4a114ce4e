//! Reading rooms: where their timelines end, and their state, now and at positions in the past.

use std::collections::HashMap;

use homeserver_core::{EventSn, KeySn, Position, RoomSn, TypeSn};
use room_engine::state_map::StateMap;

use crate::events::{StoredEvent, event_query, read_event};
use crate::room_graph::numbers;
use crate::state_chunks::read_state;
use crate::{Database, Engine, FullState, KnownState, StorageError, params};

/// No event is of this type.
const NO_TYPE: TypeSn = TypeSn(0);

/// Where a room's timeline ends.
#[derive(Clone, Debug)]
pub struct RoomHead {
    /// The room.
    pub room_sn: RoomSn,
    /// Its room version.
    pub room_version: Box<str>,
    /// How many appends there were.
    pub version: i64,
    /// The greatest depth of its events.
    pub depth: i64,
    /// Its last event.
    pub last_event_sn: EventSn,
    /// The events that no event refers to yet.
    pub extremities: Vec<EventSn>,
    /// How many events its main timeline has that usually notify.
    pub countable_total: i64,
    /// The position of the log since which all of its state is known; `None` while it is known in part.
    pub state_whole_since: Option<Position>,
    known_members: MemberCounts,
    /// Its current state; `None` if that has not been worked out, for rooms that are older than such states.
    pub state: Option<StateMap>,
}

/// How many members a room has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemberCounts {
    /// Joined members.
    pub joined: i64,
    /// Invited members.
    pub invited: i64,
}

impl RoomHead {
    /// How many members the room has.
    #[must_use]
    pub fn members(&self, _state: &FullState) -> MemberCounts {
        self.known_members
    }

    /// How many members of the room are known here. It may have more: see [`RoomHead::members`].
    #[must_use]
    pub fn known_members(&self) -> MemberCounts {
        self.known_members
    }
}

fn read_head(row: &crate::Row<'_>) -> Result<RoomHead, StorageError> {
    let extremities: String = row.get(5)?;
    Ok(RoomHead {
        room_sn: row.get(0)?,
        room_version: row.get(1)?,
        version: row.get(2)?,
        depth: row.get(3)?,
        last_event_sn: row.get(4)?,
        extremities: numbers(&extremities)?,
        countable_total: row.get(6)?,
        known_members: MemberCounts { joined: row.get(7)?, invited: row.get(8)? },
        state: read_state(row, 9)?,
        state_whole_since: row.get(10)?,
    })
}

/// A place in a room's state and the event that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateEntry {
    /// The room.
    pub room_sn: RoomSn,
    /// Event type.
    pub type_sn: TypeSn,
    /// State key.
    pub key_sn: KeySn,
    /// The event.
    pub event_sn: EventSn,
}

/// A change of a room's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateChange {
    /// When.
    pub position: Position,
    /// Where, and the event that is there from now on.
    pub entry: StateEntry,
    /// The event that was there before.
    pub replaces_sn: Option<EventSn>,
}

fn read_change(row: &crate::Row<'_>) -> Result<StateChange, StorageError> {
    let entry = StateEntry { room_sn: row.get(0)?, type_sn: row.get(2)?, key_sn: row.get(3)?, event_sn: row.get(4)? };
    Ok(StateChange { position: row.get(1)?, entry, replaces_sn: row.get(5)? })
}

impl Database {
    /// Where a room's timeline ends; `None` if the room has no events.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn room_head(&self, room_sn: RoomSn) -> Result<Option<RoomHead>, StorageError> {
        Ok(self.room_heads(&[room_sn.0]).await?.pop())
    }

    /// Where the timelines of many rooms end.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn room_heads(&self, rooms: &[i64]) -> Result<Vec<RoomHead>, StorageError> {
        let sql = "SELECT room_sn, room_version, head_version, depth, last_event_sn, extremities, countable_total, \
                   joined_count, invited_count, state_root, state_whole_since FROM room_heads WHERE room_sn IN LIST($1)";
        self.query(sql, params![rooms], read_head).await
    }

    /// The event at one place in a room's current state.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn state_event(
        &self,
        state: &KnownState,
        type_sn: TypeSn,
        key_sn: KeySn,
    ) -> Result<Option<StoredEvent>, StorageError> {
        let sql = event_query!(
            "JOIN current_state s ON s.event_sn = e.event_sn WHERE s.room_sn = $1 AND s.type_sn = $2 AND s.key_sn = $3"
        );
        self.query_optional(sql, params![state.room_sn(), type_sn, key_sn], read_event).await
    }

    /// The event that was at one place in a room's state at a position.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn state_event_at(
        &self,
        state: &KnownState,
        type_sn: TypeSn,
        key_sn: KeySn,
        at: Position,
    ) -> Result<Option<StoredEvent>, StorageError> {
        let sql = event_query!(
            "JOIN state_changes c ON c.event_sn = e.event_sn WHERE c.room_sn = $1 AND c.position = (SELECT MAX(position) \
             FROM state_changes WHERE room_sn = $1 AND type_sn = $2 AND key_sn = $3 AND position <= $4)"
        );
        self.query_optional(sql, params![state.room_sn(), type_sn, key_sn, at], read_event).await
    }

    /// What was at one place in a room's state over time, oldest first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn state_history(
        &self,
        state: &KnownState,
        type_sn: TypeSn,
        key_sn: KeySn,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let sql = event_query!(
            "JOIN state_changes c ON c.event_sn = e.event_sn WHERE c.room_sn = $1 AND c.position IN \
             (SELECT position FROM state_changes WHERE room_sn = $1 AND type_sn = $2 AND key_sn = $3) \
             ORDER BY c.position"
        );
        self.query(sql, params![state.room_sn(), type_sn, key_sn], read_event).await
    }

    /// The events of a room's current state.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn current_state_events(&self, state: &FullState) -> Result<Vec<StoredEvent>, StorageError> {
        let sql =
            event_query!("JOIN current_state s ON s.event_sn = e.event_sn WHERE s.room_sn = $1 ORDER BY e.event_sn");
        self.query(sql, params![state.room_sn()], read_event).await
    }

    /// The events of one type in a room's current state.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn current_state_of_type(
        &self,
        state: &FullState,
        type_sn: TypeSn,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let sql = event_query!(
            "JOIN current_state s ON s.event_sn = e.event_sn WHERE s.room_sn = $1 AND s.type_sn = $2 ORDER BY e.event_sn"
        );
        self.query(sql, params![state.room_sn(), type_sn], read_event).await
    }

    /// The events of the current state of many rooms.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn current_states(&self, states: &[&FullState]) -> Result<Vec<StoredEvent>, StorageError> {
        let rooms: Vec<i64> = states.iter().map(|state| state.room_sn().0).collect();
        self.read_current_states(&rooms, NO_TYPE).await
    }

    /// The events of the current state of many rooms, but for the members, whose type is `member_type`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn current_states_without_members(
        &self,
        states: &[&KnownState],
        member_type: TypeSn,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let rooms: Vec<i64> = states.iter().map(|state| state.room_sn().0).collect();
        self.read_current_states(&rooms, member_type).await
    }

    /// Up to `limit` member events, of type `member_type`, of a room's current state, whose state keys have numbers after
    /// `after`, in the order of these numbers.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn members_after(
        &self,
        state: &FullState,
        member_type: TypeSn,
        after: KeySn,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let sql = event_query!(
            "JOIN (SELECT event_sn, key_sn FROM current_state WHERE room_sn = $1 AND type_sn = $2 AND key_sn > $3 \
             ORDER BY room_sn, type_sn, key_sn LIMIT $4) s ON s.event_sn = e.event_sn ORDER BY s.key_sn"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.query(sql, params![state.room_sn(), member_type, after, limit], read_event).await
    }

    async fn read_current_states(&self, rooms: &[i64], without: TypeSn) -> Result<Vec<StoredEvent>, StorageError> {
        // Two ranges of the key, so that what is not wanted is not even looked at.
        let sql = event_query!(
            "JOIN (SELECT event_sn FROM current_state WHERE room_sn IN LIST($1) AND type_sn < $2 \
             UNION ALL SELECT event_sn FROM current_state WHERE room_sn IN LIST($1) AND type_sn > $2) s \
             ON s.event_sn = e.event_sn"
        );
        self.query(sql, params![rooms, without], read_event).await
    }

    /// The events of one type in the current state of rooms: those with state keys that are wanted of each.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn state_of_keys(
        &self,
        wanted: &[(&KnownState, Vec<i64>)],
        type_sn: TypeSn,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        if self.engine() == Engine::Sqlite || wanted.len() == 1 {
            let sql = event_query!(
                "JOIN current_state s ON s.event_sn = e.event_sn \
                 WHERE s.room_sn = $1 AND s.type_sn = $2 AND s.key_sn IN LIST($3)"
            );
            let wanted = wanted.iter().filter(|(_, keys)| !keys.is_empty());
            let rounds = wanted.map(|(state, keys)| [state.room_sn().into(), type_sn.into(), keys.into()]);
            return self.query_each(sql, rounds, read_event).await;
        }
        let pairs = wanted.iter().flat_map(|(state, keys)| keys.iter().map(|key_sn| (state.room_sn().0, *key_sn)));
        let (rooms, keys): (Vec<i64>, Vec<i64>) = pairs.unzip();
        if rooms.is_empty() {
            return Ok(Vec::new());
        }
        let sql = event_query!(
            "JOIN (SELECT found.event_sn FROM UNNEST($1, $3) AS wanted (room_sn, key_sn), LATERAL (\
             SELECT event_sn FROM current_state WHERE room_sn = wanted.room_sn AND type_sn = $2 \
             AND key_sn = wanted.key_sn LIMIT 1) found) s ON s.event_sn = e.event_sn"
        );
        self.query(sql, params![&rooms, type_sn, &keys], read_event).await
    }

    /// How the state of many rooms changed after `after` and up to `until`, oldest first within a room.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn state_changes(
        &self,
        rooms: &[i64],
        after: Position,
        until: Position,
    ) -> Result<Vec<StateChange>, StorageError> {
        let sql = "SELECT room_sn, position, type_sn, key_sn, event_sn, replaces_sn FROM state_changes \
                   WHERE room_sn IN LIST($1) AND position > $2 AND position <= $3 ORDER BY room_sn, position";
        self.query(sql, params![rooms, after, until], read_change).await
    }

    /// The state of a room as it was at a position: the current state with what changed since then undone. Event numbers
    /// only; see [`Database::events`]. Members, whose type is `member_type`, of whom the server did not know at that position
    /// because it knew the state in part are among it.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn state_at(
        &self,
        state: &FullState,
        member_type: TypeSn,
        at: Position,
    ) -> Result<Vec<StateEntry>, StorageError> {
        // In this order: what changes in between appears in the second answer too, and is undone.
        let current = self.current_state(state.room_sn(), NO_TYPE).await?;
        let sql = "SELECT c.room_sn, c.position, c.type_sn, c.key_sn, c.event_sn, c.replaces_sn FROM state_changes c \
                   JOIN room_heads h ON h.room_sn = c.room_sn WHERE c.room_sn = $1 AND c.position > $2 \
                   AND (c.type_sn <> $3 OR c.replaces_sn IS NOT NULL OR c.position > h.state_whole_since) \
                   ORDER BY c.position";
        let changes = self.query(sql, params![state.room_sn(), at, member_type], read_change).await?;
        Ok(undo(current, &changes))
    }

    /// As [`Database::state_at`], but for the members.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn state_without_members_at(
        &self,
        state: &KnownState,
        member_type: TypeSn,
        at: Position,
    ) -> Result<Vec<StateEntry>, StorageError> {
        let current = self.current_state(state.room_sn(), member_type).await?;
        // By type, for there may be many more changes of members than of all else.
        let sql = "SELECT room_sn, position, type_sn, key_sn, event_sn, replaces_sn FROM state_changes \
                   WHERE room_sn = $1 AND position > $2 AND position IN (\
                   SELECT position FROM state_changes WHERE room_sn = $1 AND type_sn < $3 \
                   UNION ALL SELECT position FROM state_changes WHERE room_sn = $1 AND type_sn > $3) ORDER BY position";
        let changes = self.query(sql, params![state.room_sn(), at, member_type], read_change).await?;
        Ok(undo(current, &changes))
    }

    async fn current_state(&self, room_sn: RoomSn, without: TypeSn) -> Result<Vec<StateEntry>, StorageError> {
        let sql = "SELECT room_sn, type_sn, key_sn, event_sn FROM current_state WHERE room_sn = $1 AND type_sn < $2 \
                   UNION ALL SELECT room_sn, type_sn, key_sn, event_sn FROM current_state \
                   WHERE room_sn = $1 AND type_sn > $2";
        let read = |row: &crate::Row<'_>| {
            Ok(StateEntry { room_sn: row.get(0)?, type_sn: row.get(1)?, key_sn: row.get(2)?, event_sn: row.get(3)? })
        };
        self.query(sql, params![room_sn, without], read).await
    }
}

/// The state before `changes`, which are in order and lead to (at least) `current`.
fn undo(current: Vec<StateEntry>, changes: &[StateChange]) -> Vec<StateEntry> {
    if changes.is_empty() {
        return current;
    }
    let mut state: HashMap<_, _> = current.into_iter().map(|entry| ((entry.type_sn, entry.key_sn), entry)).collect();
    for change in changes.iter().rev() {
        let place = (change.entry.type_sn, change.entry.key_sn);
        match change.replaces_sn {
            Some(event_sn) => state.insert(place, StateEntry { event_sn, ..change.entry }),
            None => state.remove(&place),
        };
    }
    state.into_values().collect()
}
