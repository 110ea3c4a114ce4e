//! Putting right what is stored of a room besides its events.

use homeserver_core::{EventSn, RoomSn, UserSn};
use room_engine::auth_chain::IndexedEvent;
use room_engine::state_map::{Chunk, Place, StateMap};

use crate::append::{Effect, StateEffect, later_version, rows};
use crate::events::Standing;
use crate::log::LogEntry;
use crate::{Database, Membership, StorageError, Tx, auth_chains, params};

/// What is to be stored of a room in place of what is. All of it was worked out from the room's events.
#[derive(Clone, Debug)]
pub struct RoomRepair {
    /// The room.
    pub room_sn: RoomSn,
    /// The version of the head that this was worked out from.
    pub expected_version: i64,
    /// The states after those events whose state is not stored, or is another one.
    pub states: Vec<(EventSn, StateMap)>,
    /// Events that do not have the standing that they should.
    pub standings: Vec<(EventSn, Standing)>,
    /// Chunks of these states.
    pub chunks: Vec<Chunk>,
    /// The current state.
    pub current: StateMap,
    /// Places at which the table of the current state is to be changed.
    pub effects: Vec<StateEffect>,
    /// Memberships that are not what the member events say.
    pub memberships: Vec<(UserSn, Membership, EventSn)>,
    /// The events to which no other refers.
    pub extremities: Vec<EventSn>,
    /// The greatest depth.
    pub depth: i64,
    /// Joined members.
    pub joined_count: i64,
    /// Invited members.
    pub invited_count: i64,
}

impl Database {
    /// The table of a room's current state as it stands, whether or not all of the state is known: for comparing.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn stored_current_state(&self, room_sn: RoomSn) -> Result<Vec<(Place, EventSn)>, StorageError> {
        let sql = "SELECT type_sn, key_sn, event_sn FROM current_state WHERE room_sn = $1";
        self.query(sql, params![room_sn], |row| Ok((Place::new(row.get(0)?, row.get(1)?), row.get(2)?))).await
    }

    /// The table of a room's memberships as it stands: for comparing.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn stored_memberships(
        &self,
        room_sn: RoomSn,
    ) -> Result<Vec<(UserSn, Membership, EventSn)>, StorageError> {
        let sql = "SELECT user_sn, membership, event_sn FROM memberships WHERE room_sn = $1";
        self.query(sql, params![room_sn], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).await
    }

    /// Replaces what follows from a room's events, in one transaction. `false` if the room has moved on in the meantime, and
    /// nothing was changed.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn repair_room(&self, repair: RoomRepair) -> Result<bool, StorageError> {
        self.write(async move |tx| tx.repair_room(&repair).await).await
    }

    /// Makes the index of the auth chains of a room anew. `events` are all of its state events, each after its auth events,
    /// as they were when the room's head had the version `expected_version`. `false` if the room has moved on in the
    /// meantime, and nothing was changed.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn rebuild_auth_chains(
        &self,
        room_sn: RoomSn,
        expected_version: i64,
        events: Vec<IndexedEvent>,
    ) -> Result<bool, StorageError> {
        self.write(async move |tx| tx.rebuild_auth_chains(room_sn, expected_version, &events).await).await
    }
}

impl Tx {
    async fn rebuild_auth_chains(
        &mut self,
        room_sn: RoomSn,
        expected_version: i64,
        events: &[IndexedEvent],
    ) -> Result<bool, StorageError> {
        // Takes the lock under which heads are compared, and tells other processes that what they remember is old.
        self.next_position().await?;
        if self.head_version(room_sn).await? != Some(expected_version) {
            return Ok(false);
        }
        for sql in [
            "DELETE FROM auth_chain_links WHERE from_chain IN (SELECT event_sn FROM events WHERE room_sn = $1)",
            "DELETE FROM auth_chain_starts WHERE chain IN (SELECT event_sn FROM events WHERE room_sn = $1)",
            "DELETE FROM auth_chain_events WHERE event_sn IN (SELECT event_sn FROM events WHERE room_sn = $1)",
        ] {
            self.execute(sql, params![room_sn]).await?;
        }
        self.forget_rooms();
        let new = auth_chains::index(self, events).await?;
        let lists: Vec<String> = events.iter().map(auth_chains::auth_event_list).collect();
        self.insert_into_tables(&auth_chains::rows(events, &new, &lists)).await?;
        Ok(true)
    }

    async fn head_version(&mut self, room_sn: RoomSn) -> Result<Option<i64>, StorageError> {
        let sql = "SELECT head_version FROM room_heads WHERE room_sn = $1";
        self.query_optional(sql, params![room_sn], |row| row.get(0)).await
    }

    async fn repair_room(&mut self, repair: &RoomRepair) -> Result<bool, StorageError> {
        let room_sn = repair.room_sn;
        // Takes the lock under which heads are compared.
        let mut last = self.next_position().await?;
        if self.head_version(room_sn).await? != Some(repair.expected_version) {
            return Ok(false);
        }
        self.forget_rooms();
        self.chunks_mut().extend(repair.chunks.iter().cloned());
        self.insert_into_tables(&[rows::state_chunks(&repair.chunks, last)]).await?;
        for (event_sn, state) in &repair.states {
            let sql = "UPDATE events SET state_root = $2 WHERE event_sn = $1";
            self.execute(sql, params![*event_sn, &state.root_bytes()[..]]).await?;
        }
        for (event_sn, standing) in &repair.standings {
            let sql = "UPDATE events SET standing = $2 WHERE event_sn = $1";
            self.execute(sql, params![*event_sn, standing.code()]).await?;
        }
        let mut effects = Vec::with_capacity(repair.effects.len());
        for effect in &repair.effects {
            last = self.next_position().await?;
            effects.push(Effect::of_resolution(effect, last));
            self.publish(LogEntry::StateResolved { position: last, room_sn, membership: effect.membership });
        }
        let each = || effects.iter().map(|effect| (room_sn, effect));
        let [changes, current] = rows::state(each());
        let [membership_changes, memberships] = rows::memberships(each());
        self.insert_into_tables(&[changes, current, membership_changes, memberships]).await?;
        rows::write_removals(self, each()).await?;
        for (user_sn, membership, event_sn) in &repair.memberships {
            let sql = "INSERT INTO memberships (room_sn, user_sn, membership, event_sn, is_forgotten) \
                       VALUES ($1, $2, $3, $4, FALSE) ON CONFLICT (room_sn, user_sn) \
                       DO UPDATE SET membership = excluded.membership, event_sn = excluded.event_sn";
            self.execute(sql, params![room_sn, *user_sn, *membership, *event_sn]).await?;
        }
        let extremities: Vec<String> = repair.extremities.iter().map(ToString::to_string).collect();
        let extremities = extremities.join(",");
        let sql = "UPDATE room_heads SET head_version = $8, state_root = $2, extremities = $3, depth = $4, \
                   joined_count = $5, invited_count = $6, last_event_sn = $7 WHERE room_sn = $1";
        let parameters = params![
            room_sn,
            &repair.current.root_bytes()[..],
            &extremities,
            repair.depth,
            repair.joined_count,
            repair.invited_count,
            last,
            later_version(repair.expected_version)
        ];
        self.execute(sql, parameters).await?;
        Ok(true)
    }
}
