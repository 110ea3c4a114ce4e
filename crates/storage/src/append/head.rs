//! The heads of rooms, as the writer moves them.

use std::collections::HashMap;

use homeserver_core::{HeapSize, RoomSn};
use room_engine::state_map::StateMap;

use super::Append;
use crate::state_chunks::{WrittenState, read_state};
use crate::{StorageError, Tx, params};

/// The head of a room: what the next append is compared with, and continues.
#[derive(Clone)]
pub(crate) struct WriterHead {
    pub(super) version: i64,
    pub(super) depth: i64,
    pub(super) last: i64,
    pub(super) countable_total: i64,
    pub(super) joined_count: i64,
    pub(super) invited_count: i64,
    pub(super) room_version: Box<str>,
    pub(super) extremities: String,
    pub(super) state: StateMap,
    pub(super) changed: bool,
}

impl HeapSize for WriterHead {
    fn heap_bytes(&self) -> usize {
        self.room_version.heap_bytes() + self.extremities.heap_bytes()
    }
}

impl WriterHead {
    pub(super) fn of_new_room(append: &Append) -> Self {
        Self {
            version: 0,
            depth: 0,
            last: 0,
            countable_total: 0,
            joined_count: 0,
            invited_count: 0,
            room_version: append.room_version.clone(),
            extremities: String::new(),
            state: StateMap::EMPTY,
            changed: false,
        }
    }

    /// Nothing is appended to a room whose events are still being removed, because every version that is expected is another one.
    fn of_purged_room() -> Self {
        Self {
            version: -1,
            depth: 0,
            last: 0,
            countable_total: 0,
            joined_count: 0,
            invited_count: 0,
            room_version: "".into(),
            extremities: String::new(),
            state: StateMap::EMPTY,
            changed: false,
        }
    }

    /// Whether the room's events are still being removed.
    pub(crate) fn is_purged(&self) -> bool {
        self.version < 0
    }

    /// The current state, if the transaction changes the room.
    pub(crate) fn written_state(&self) -> Option<WrittenState> {
        self.changed.then_some(WrittenState { head_version: self.version, state: self.state })
    }

    /// As the next transaction finds it; `None` if the room has no events.
    pub(crate) fn settled(mut self) -> Option<Self> {
        self.changed = false;
        (self.version > 0).then_some(self)
    }

    /// Moves the head behind an append whose events have their numbers.
    pub(super) fn advance(&mut self, append: &Append, state: StateMap) {
        debug_assert!(
            append.new_version > self.version,
            "the version of a head went from {} to {}",
            self.version,
            append.new_version
        );
        debug_assert!(append.events.iter().all(|event| event.number.sn().0 > 0), "an event without a number");
        self.extremities = match &append.extremities {
            Some(extremities) => {
                let numbers: Vec<String> = extremities.iter().map(|number| number.sn().to_string()).collect();
                numbers.join(",")
            }
            None => append.events.last().map_or_else(String::new, |event| event.number.sn().to_string()),
        };
        self.state = state;
        self.joined_count += append.joined_change;
        self.invited_count += append.invited_change;
        self.version = append.new_version;
        self.changed = true;
    }
}

/// The heads of rooms. Positions have to be reserved first.
pub(crate) async fn load_heads(
    tx: &mut Tx,
    wanted: impl Iterator<Item = RoomSn>,
) -> Result<HashMap<RoomSn, WriterHead>, StorageError> {
    let mut heads = HashMap::new();
    let mut rooms: Vec<i64> = Vec::new();
    for room_sn in wanted {
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
               room_version, extremities, state_root FROM room_heads WHERE room_sn IN LIST($1)";
    let loaded = tx
        .query(sql, params![&rooms], |row| {
            let head = WriterHead {
                version: row.get(1)?,
                depth: row.get(2)?,
                last: row.get(3)?,
                countable_total: row.get(4)?,
                joined_count: row.get(5)?,
                invited_count: row.get(6)?,
                room_version: row.get(7)?,
                extremities: row.get(8)?,
                state: read_state(row, 9)?.unwrap_or(StateMap::EMPTY),
                changed: false,
            };
            Ok((row.get(0)?, head))
        })
        .await?;
    heads.extend(loaded);
    rooms.retain(|room_sn| !heads.contains_key(&RoomSn(*room_sn)));
    if !rooms.is_empty() {
        for room_sn in tx.rooms_being_purged(&rooms).await? {
            heads.insert(room_sn, WriterHead::of_purged_room());
        }
    }
    Ok(heads)
}
