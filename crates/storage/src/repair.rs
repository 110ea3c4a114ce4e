//! Putting right what is stored of a room besides its events.

use homeserver_core::{EventSn, RoomSn, UserSn};
use room_engine::auth_chain::IndexedEvent;
use room_engine::state_map::{Chunk, Place, StateMap};

use crate::append::{Effect, StateEffect, later_version, rows};
use crate::events::Standing;
use crate::membership::membership_at;
use crate::{Database, LogEntry, Membership, StorageError, Tx, Value, auth_chains, params};

/// What is to be stored of a room in place of what is. All of it was worked out from the room's events.
#[derive(Clone, Debug)]
pub struct RoomRepair {
    /// The room.
    pub room_sn: RoomSn,
    /// The version of the head that this was worked out from.
    pub expected_version: i64,
    /// The states after those events whose state is not stored, or is another one; in the order of the events.
    pub states: Vec<RepairedState>,
    /// Events that do not have the standing that they should.
    pub standings: Vec<(EventSn, Standing)>,
    /// Those chunks of the current state that the states after events may not have.
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
    /// Whether this is all of a state that was known in part.
    pub is_completion: bool,
}

/// A state that is to be stored after an event.
#[derive(Clone, Debug)]
pub struct RepairedState {
    /// The event.
    pub event_sn: EventSn,
    /// The state after it.
    pub state: StateMap,
    /// Those of its chunks that the states after earlier events may not have.
    pub chunks: Vec<Chunk>,
    /// Whether another state is stored, that others may be building on.
    pub is_replacement: bool,
}

/// States after events that are stored in one transaction.
const STATES_AT_ONCE: usize = 500;
/// Other rows that are stored in one transaction.
const ROWS_AT_ONCE: usize = 2_000;
/// State events that are placed in their auth chains in one transaction.
const INDEXED_AT_ONCE: usize = 2_000;

impl Database {
    /// The rows of a room's current state, whether or not all of the state is known: for comparing.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn stored_current_state(&self, room_sn: RoomSn) -> Result<Vec<(Place, EventSn)>, StorageError> {
        let sql = "SELECT type_sn, key_sn, event_sn FROM current_state WHERE room_sn = $1";
        self.query(sql, params![room_sn], |row| Ok((Place::new(row.get(0)?, row.get(1)?), row.get(2)?))).await
    }

    /// The rows of a room's memberships: for comparing.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn stored_memberships(
        &self,
        room_sn: RoomSn,
    ) -> Result<Vec<(UserSn, Membership, EventSn)>, StorageError> {
        let sql = "SELECT user_sn, membership, event_sn FROM memberships WHERE room_sn = $1";
        self.query(sql, params![room_sn], |row| Ok((row.get(0)?, membership_at(row, 1)?, row.get(2)?))).await
    }

    /// Replaces what follows from a room's events, in transactions of bounded size, the present of the room in the last one. What
    /// was stored before an interruption is right, and need not be stored again. `false` if the room has moved on in the
    /// meantime: its present was not changed.
    ///
    /// # Errors
    /// [`StorageError`] if a transaction does not commit.
    pub async fn repair_room(&self, mut repair: RoomRepair) -> Result<bool, StorageError> {
        let room_sn = repair.room_sn;
        for states in std::mem::take(&mut repair.states).chunks(STATES_AT_ONCE) {
            let (states, expected) = (states.to_vec(), repair.expected_version);
            let write = self.write(async move |tx| tx.repair_states(room_sn, expected, &states).await);
            let Some(version) = write.await? else { return Ok(false) };
            repair.expected_version = version;
        }
        let standings = std::mem::take(&mut repair.standings);
        if !self.replace_standings(room_sn, repair.expected_version, standings).await? {
            return Ok(false);
        }
        self.write(async move |tx| tx.repair_present(&repair).await).await
    }

    /// Replaces what events count as, in transactions of bounded size. `false` if the room's head has another version than
    /// `expected_version`.
    ///
    /// # Errors
    /// [`StorageError`] if a transaction does not commit.
    pub async fn replace_standings(
        &self,
        room_sn: RoomSn,
        expected_version: i64,
        standings: Vec<(EventSn, Standing)>,
    ) -> Result<bool, StorageError> {
        for standings in standings.chunks(ROWS_AT_ONCE) {
            let standings = standings.to_vec();
            let replace = async move |tx: &mut Tx| tx.repair_standings(room_sn, expected_version, &standings).await;
            if !self.write(replace).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Replaces the state after one event. `false` if the room's head has another version than `expected_version`.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn replace_state(
        &self,
        room_sn: RoomSn,
        expected_version: i64,
        state: RepairedState,
    ) -> Result<bool, StorageError> {
        let states = [state];
        let replaced = self.write(async move |tx| tx.repair_states(room_sn, expected_version, &states).await).await?;
        Ok(replaced.is_some())
    }

    /// Rebuilds the index of the auth chains of a room, in transactions of bounded size. `events` are all of its state events,
    /// each after its auth events, as they were when the room's head had the version `expected_version`. `false` if the room has
    /// moved on in the meantime; then it is to be done again.
    ///
    /// # Errors
    /// [`StorageError`] if a transaction does not commit.
    pub async fn rebuild_auth_chains(
        &self,
        room_sn: RoomSn,
        expected_version: i64,
        events: Vec<IndexedEvent>,
    ) -> Result<bool, StorageError> {
        for (number, events) in events.chunks(INDEXED_AT_ONCE).enumerate() {
            let (events, is_first) = (events.to_vec(), number == 0);
            let index = async move |tx: &mut Tx| tx.index_again(room_sn, expected_version, &events, is_first).await;
            if !self.write(index).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Tx {
    /// Places events in their auth chains, the first of a room after removing all that is stored.
    async fn index_again(
        &mut self,
        room_sn: RoomSn,
        expected_version: i64,
        events: &[IndexedEvent],
        is_first: bool,
    ) -> Result<bool, StorageError> {
        // Takes the lock under which heads are compared, and tells other processes that what they remember is old.
        self.next_position().await?;
        if self.head_version(room_sn).await? != Some(expected_version) {
            return Ok(false);
        }
        let removals = [
            "DELETE FROM auth_chain_links WHERE from_chain IN (SELECT event_sn FROM events WHERE room_sn = $1)",
            "DELETE FROM auth_chain_starts WHERE chain IN (SELECT event_sn FROM events WHERE room_sn = $1)",
            "DELETE FROM auth_chain_events WHERE event_sn IN (SELECT event_sn FROM events WHERE room_sn = $1)",
        ];
        for sql in removals.into_iter().filter(|_| is_first) {
            self.execute(sql, params![room_sn]).await?;
        }
        if is_first {
            self.forget_rooms();
        }
        let new = auth_chains::index(self, events).await?;
        let lists: Vec<String> = events.iter().map(auth_chains::auth_event_list).collect();
        self.insert_into_tables(&auth_chains::rows(events, &new, &lists)).await?;
        Ok(true)
    }

    async fn head_version(&mut self, room_sn: RoomSn) -> Result<Option<i64>, StorageError> {
        let sql = "SELECT head_version FROM room_heads WHERE room_sn = $1";
        self.query_optional(sql, params![room_sn], |row| row.get(0)).await
    }

    /// Stores states after events. Returns the version that the room's head has now; `None` if it was another one before.
    async fn repair_states(
        &mut self,
        room_sn: RoomSn,
        expected_version: i64,
        states: &[RepairedState],
    ) -> Result<Option<i64>, StorageError> {
        // Takes the lock under which heads are compared.
        self.next_position().await?;
        if self.head_version(room_sn).await? != Some(expected_version) {
            return Ok(None);
        }
        if states.iter().any(|state| state.is_replacement) {
            self.renew_head(room_sn).await?;
        }
        let chunks: Vec<Chunk> = states.iter().flat_map(|state| state.chunks.iter().cloned()).collect();
        self.chunks_mut().extend(chunks.iter().cloned());
        self.insert_into_tables(&[rows::state_chunks(&chunks, self.last_reserved())]).await?;
        let rows: Vec<Vec<Value<'_>>> =
            states.iter().map(|it| vec![it.event_sn.into(), Value::Blob(Some(it.state.root_bytes()))]).collect();
        let sql =
            "UPDATE events SET state_root = r.root FROM ROWS(event_sn, root) r WHERE events.event_sn = r.event_sn";
        self.execute_rows(sql, &rows).await?;
        self.head_version(room_sn).await
    }

    /// Stores what events count as. `false` if the room has moved on.
    async fn repair_standings(
        &mut self,
        room_sn: RoomSn,
        expected_version: i64,
        standings: &[(EventSn, Standing)],
    ) -> Result<bool, StorageError> {
        self.next_position().await?;
        if self.head_version(room_sn).await? != Some(expected_version) {
            return Ok(false);
        }
        let rows: Vec<Vec<Value<'_>>> =
            standings.iter().map(|(event_sn, standing)| vec![(*event_sn).into(), standing.code().into()]).collect();
        let sql = "UPDATE events SET standing = r.standing FROM ROWS(event_sn, standing) r \
                   WHERE events.event_sn = r.event_sn";
        self.execute_rows(sql, &rows).await?;
        Ok(true)
    }

    /// Stores the present of a room. `false` if the room has moved on.
    async fn repair_present(&mut self, repair: &RoomRepair) -> Result<bool, StorageError> {
        let room_sn = repair.room_sn;
        // Takes the lock under which heads are compared.
        let mut last = self.next_position().await?;
        if self.head_version(room_sn).await? != Some(repair.expected_version) {
            return Ok(false);
        }
        self.forget_rooms();
        self.chunks_mut().extend(repair.chunks.iter().cloned());
        self.insert_into_tables(&[rows::state_chunks(&repair.chunks, last)]).await?;
        self.reserve_positions(i64::try_from(repair.effects.len()).unwrap_or(i64::MAX)).await?;
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
        rows::mark_new_members(self, each()).await?;
        rows::add_servers(self, each()).await?;
        let rows = repair.memberships.iter().map(|(user_sn, membership, event_sn)| {
            vec![
                room_sn.into(),
                (*user_sn).into(),
                crate::membership::code(*membership).into(),
                (*event_sn).into(),
                false.into(),
            ]
        });
        let into = "memberships (room_sn, user_sn, membership, event_sn, is_forgotten) ON CONFLICT (room_sn, user_sn) \
                    DO UPDATE SET membership = excluded.membership, event_sn = excluded.event_sn";
        self.insert_all(into, &rows.collect::<Vec<_>>()).await?;
        let repaired: Vec<i64> = repair.memberships.iter().map(|(user_sn, ..)| user_sn.0).collect();
        rows::mark_local(self, room_sn, &repaired).await?;
        rows::mark_servers(self, room_sn, &repaired).await?;
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
        if repair.is_completion {
            self.mark_state_whole(room_sn).await?;
        }
        Ok(true)
    }
}
