//! Rooms and members that are too many to be read at once.

use std::collections::HashSet;
use std::sync::Arc;

use homeserver_core::{KeySn, TypeSn};
use rooms::RoomError;
use storage::{KnownState, StoredEvent};

use super::Sync;
use super::joined::RoomAnswer;
use crate::providers::Pass;
use crate::providers::changes::RoomUpdate;
use crate::providers::timelines::TimelinePart;

/// Most rooms that are read together, with one query for each kind of data.
const ROOMS_AT_ONCE: usize = 100;
/// Events of timelines that are in memory together.
const TIMELINE_EVENTS_AT_ONCE: usize = 5_000;
/// Members that are in memory together, unless [`Sync::with_members_at_once`] says otherwise.
pub(super) const MEMBERS_AT_ONCE: usize = 2_000;

/// The members of a large room, read page by page.
pub(super) struct MemberPages {
    member_type: TypeSn,
    /// The members that are part of the answer already.
    told: HashSet<KeySn>,
    timeline: TimelinePart,
    /// The last member that was read; `None` after the last page.
    after: Option<KeySn>,
}

impl Sync {
    /// From this number of members on, a room is large.
    fn large_room(&self) -> usize {
        self.members_at_once.div_ceil(2)
    }

    /// Divides rooms into parts, in order, that are small enough to be worked on together. Finds out which rooms are large.
    pub(super) async fn divided<'u>(
        &self,
        pass: &Pass<'_>,
        updates: &'u mut [RoomUpdate],
    ) -> Result<Vec<&'u [RoomUpdate]>, RoomError> {
        let rooms_at_once = (TIMELINE_EVENTS_AT_ONCE / pass.wants.timeline_limit().max(1)).clamp(1, ROOMS_AT_ONCE);
        let is_whole =
            |update: &RoomUpdate| !pass.wants.lazy_members() && (update.is_fresh(pass) || pass.wants.full_state);
        let large_room = self.large_room();
        let mut parts = Vec::new();
        let mut first_of_part = 0;
        let mut members = 0;
        let mut sizes = vec![0; updates.len()];
        for (chunk, sizes) in updates.chunks_mut(ROOMS_AT_ONCE).zip(sizes.chunks_mut(ROOMS_AT_ONCE)) {
            let rooms: Vec<i64> = chunk.iter().filter(|it| is_whole(it)).map(|update| update.room_sn.0).collect();
            let counts = self.providers.database.member_counts_up_to(&rooms, large_room).await?;
            for (update, size) in chunk.iter_mut().zip(sizes) {
                let count = counts.get(&update.room_sn).copied().unwrap_or_default();
                update.is_large = count >= large_room && update.state.full().is_some();
                *size = if update.is_large { 0 } else { count };
            }
        }
        for (index, size) in sizes.into_iter().enumerate() {
            if index - first_of_part == rooms_at_once
                || (members + size > self.members_at_once && index > first_of_part)
            {
                parts.push(updates.get(first_of_part..index).unwrap_or_default());
                (first_of_part, members) = (index, 0);
            }
            members += size;
        }
        parts.push(updates.get(first_of_part..).unwrap_or_default());
        Ok(parts)
    }

    /// The members that are still missing in the answer about a large room, if the answer has its whole state.
    pub(super) async fn more_members(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &TimelinePart,
        state: &[Arc<StoredEvent>],
    ) -> Result<Option<MemberPages>, RoomError> {
        if !update.is_large || !(update.is_fresh(pass) || pass.wants.full_state) {
            return Ok(None);
        }
        let member_type = self.providers.interned.event_type("m.room.member").await?;
        let told = state.iter().filter(|event| event.type_sn == member_type).filter_map(|event| event.state_key_sn);
        let (told, timeline) = (told.collect(), timeline.clone());
        Ok(Some(MemberPages { member_type, told, timeline, after: Some(KeySn(0)) }))
    }

    /// Replaces the state in the answer by the next page of the members of the room; `false` if there is none.
    pub(super) async fn next_members(
        &self,
        pass: &Pass<'_>,
        state: &KnownState,
        room: &mut RoomAnswer,
    ) -> Result<bool, RoomError> {
        let Some(full) = state.full() else { return Ok(false) };
        let Some(pages) = &mut room.more_members else { return Ok(false) };
        let Some(after) = pages.after else { return Ok(false) };
        let read = self.providers.database.members_after(full, pages.member_type, after, self.members_at_once).await?;
        pages.after = read.last().filter(|_| read.len() == self.members_at_once).and_then(|event| event.state_key_sn);
        let is_new = |event: &StoredEvent| event.state_key_sn.is_some_and(|key_sn| !pages.told.contains(&key_sn));
        let current = read.into_iter().filter(is_new).map(Arc::new).collect();
        let members = self.providers.state_before(pass, &pages.timeline, current).await?;
        room.state = self.providers.filtered(pass.wants.state_filter(), members, &room.room_id).await?;
        self.providers.redact_erased_state(pass, state, &mut room.state).await?;
        // What was written does not have to be read in another form again.
        room.timeline.clear();
        room.pdus.clear();
        self.add_pdus(pass, room).await?;
        Ok(true)
    }
}
