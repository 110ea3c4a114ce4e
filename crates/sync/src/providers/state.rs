//! The state of rooms, as far as their timelines do not show it.

use std::collections::HashMap;
use std::sync::Arc;

use homeserver_core::{KeySn, Position, RoomSn, TypeSn};
use rooms::RoomError;
use storage::{FullState, KnownState, StateEntry, StorageError, StoredEvent};

use super::changes::RoomUpdate;
use super::timelines::TimelinePart;
use super::{Pass, Providers};

impl Providers {
    /// The state that changed in the pass, as far as the timeline does not show it.
    pub(crate) async fn changes_of_state(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &TimelinePart,
    ) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        let Some(gap) = &timeline.gap else { return self.read_changed_state(pass, update, timeline).await };
        let shown_too = timeline.events.iter().filter(|_| pass.wants.state_after);
        let mut latest: HashMap<(TypeSn, KeySn), &Arc<StoredEvent>> = HashMap::new();
        for event in gap.iter().chain(shown_too) {
            let Some(key_sn) = event.state_key_sn else { continue };
            let known = latest.entry((event.type_sn, key_sn)).or_insert(event);
            if known.sn < event.sn {
                *known = event;
            }
        }
        Ok(latest.into_values().cloned().collect())
    }

    /// Adds the members who changed in the pass to a whole state without members, for a client that was in the room before:
    /// it knows members, and would not learn of the change otherwise.
    pub(crate) async fn add_changed_members(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &TimelinePart,
        state: &mut Vec<Arc<StoredEvent>>,
    ) -> Result<(), RoomError> {
        if pass.wants.lazy_members() && pass.from.is_some() {
            let member_type = self.interned.event_type("m.room.member").await?;
            let changed = self.changes_of_state(pass, update, timeline).await?;
            state.extend(changed.into_iter().filter(|event| event.type_sn == member_type));
        }
        Ok(())
    }

    /// The state that changed in the pass, as far as the timeline does not show it, from the database.
    pub(crate) async fn read_changed_state(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &TimelinePart,
    ) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        // Also what is as new as the timeline: when branches of the room met, older events may have come into the state.
        let changes = self.database.state_changes(&[update.room_sn.0], pass.after(), pass.to).await?;
        let newest: HashMap<_, _> = changes
            .iter()
            .filter(|it| timeline.needs_as_state(pass, it.entry.event_sn))
            .map(|it| ((it.entry.type_sn, it.entry.key_sn), it.entry.event_sn.0))
            .collect();
        let sns: Vec<i64> = newest.into_values().collect();
        Ok(self.load_events(&sns).await?)
    }

    /// The current state of many rooms; without members if the client loads them lazily or they are many.
    pub(crate) async fn current_states(
        &self,
        pass: &Pass<'_>,
        updates: &[&RoomUpdate],
    ) -> Result<HashMap<RoomSn, Vec<Arc<StoredEvent>>>, RoomError> {
        let (without, with): (Vec<&RoomUpdate>, Vec<&RoomUpdate>) =
            updates.iter().partition(|update| pass.wants.lazy_members() || update.is_large);
        let mut events = Vec::new();
        if !without.is_empty() {
            let member_type = self.interned.event_type("m.room.member").await?;
            let known: Vec<&KnownState> = without.iter().map(|update| &update.state).collect();
            events = self.database.current_states_without_members(&known, member_type).await?;
        }
        if !with.is_empty() {
            let full: Vec<&FullState> = with.iter().filter_map(|update| update.state.full()).collect();
            events.extend(self.database.current_states(&full).await?);
        }
        let mut states: HashMap<RoomSn, Vec<Arc<StoredEvent>>> = HashMap::with_capacity(updates.len());
        for event in events {
            states.entry(event.room_sn).or_default().push(Arc::new(event));
        }
        Ok(states)
    }

    /// The state at the start of the timeline, or at its end if the client wants that: the current state with what
    /// the timeline shows undone.
    pub(crate) async fn state_before(
        &self,
        pass: &Pass<'_>,
        timeline: &TimelinePart,
        current: Vec<Arc<StoredEvent>>,
    ) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        if current.iter().all(|event| timeline.needs_as_state(pass, event.sn)) {
            return Ok(current);
        }
        let mut state = Vec::with_capacity(current.len());
        let mut older: Vec<i64> = Vec::new();
        for event in current {
            if timeline.needs_as_state(pass, event.sn) {
                state.push(event);
            } else {
                older.extend(event.replaces_sn.map(|sn| sn.0));
            }
        }
        // A place that changed several times is followed back, one step for all places at a time.
        while !older.is_empty() {
            let mut still_newer = Vec::new();
            for event in self.load_events(&older).await? {
                if timeline.needs_as_state(pass, event.sn) {
                    state.push(event);
                } else {
                    still_newer.extend(event.replaces_sn.map(|sn| sn.0));
                }
            }
            older = still_newer;
        }
        Ok(state)
    }

    /// The state of a room at a position; without members if the client loads them lazily, and nothing if it does not but not
    /// all of them are known.
    pub(crate) async fn entries_at(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        at: Position,
    ) -> Result<Vec<StateEntry>, RoomError> {
        let member_type = self.interned.event_type("m.room.member").await?;
        match update.state.full() {
            _ if pass.wants.lazy_members() => {
                Ok(self.database.state_without_members_at(&update.state, member_type, at).await?)
            }
            Some(full) => Ok(self.database.state_at(full, member_type, at).await?),
            None => Ok(Vec::new()),
        }
    }

    /// The state events with these numbers, shared.
    pub(crate) async fn load_events(&self, sns: &[i64]) -> Result<Vec<Arc<StoredEvent>>, StorageError> {
        Ok(self.database.events(sns).await?.into_iter().map(Arc::new).collect())
    }
}
