//! Rooms that the user has left, was removed from, or declined to join.

use std::sync::Arc;

use homeserver_core::Position;
use storage::Membership;

use super::changes::{Before, RoomUpdate};
use super::joined::{RoomAnswer, empty_timeline};
use super::{Pass, Sync};
use crate::reading::Visibility;
use crate::rooms::RoomError;

impl Sync {
    pub(super) async fn left_rooms(
        &self,
        pass: &Pass<'_>,
        updates: &[RoomUpdate],
    ) -> Result<Vec<RoomAnswer>, RoomError> {
        let mut answers = Vec::new();
        for update in updates {
            let is_gone = matches!(update.membership, Membership::Leave | Membership::Ban);
            let is_news = match pass.from {
                Some(from) => update.since > from,
                None => pass.request.filter.room.0.include_leave,
            };
            if is_gone && is_news {
                answers.push(self.left_room(pass, update).await?);
            }
        }
        Ok(answers)
    }

    /// The room up to the user's leaving.
    async fn left_room(&self, pass: &Pass<'_>, update: &RoomUpdate) -> Result<RoomAnswer, RoomError> {
        let end = Pass { to: update.since, ..*pass };
        let was_joined = update.before == Before::Joined;
        let after = if was_joined { pass.after() } else { Position::START };
        let mut timelines = self.read_timelines(&end, &[update], after).await?;
        let mut timeline = timelines.remove(&update.room_sn).unwrap_or_else(|| empty_timeline(end.to));
        let visibility =
            Visibility::load(&self.database, &self.interned, update.room_sn, pass.requester.user_sn).await?;
        // Everybody sees themselves go.
        timeline.events.retain(|event| event.sn.position() == update.since || visibility.may_see(event));
        timeline.memberships = timeline.events.iter().map(|event| Some(visibility.membership_at(event))).collect();
        if let Some(first) = timeline.events.first() {
            timeline.start = Position(first.sn.0 - 1);
        }
        let was_member = was_joined || visibility.was_ever_joined();
        let state = if !was_member {
            Vec::new()
        } else if was_joined && pass.from.is_some() && !pass.request.full_state {
            let changes = self.database.state_changes(&[update.room_sn.0], after, timeline.start).await?;
            let newest: std::collections::HashMap<_, _> =
                changes.iter().map(|it| ((it.entry.type_sn, it.entry.key_sn), it.entry.event_sn.0)).collect();
            let sns: Vec<i64> = newest.into_values().collect();
            self.load_events(&sns).await?
        } else {
            let at = if pass.request.use_state_after { update.since } else { timeline.start };
            let entries = self.database.state_at(update.room_sn, at).await?;
            let sns: Vec<i64> = entries.into_iter().map(|entry| entry.event_sn.0).collect();
            self.load_events(&sns).await?
        };
        let state = self.choose_state(&end, update, &timeline, state, true).await?;
        Ok(RoomAnswer {
            room_id: Arc::clone(&update.room_id),
            prev_batch: timeline.start,
            timeline: timeline.events,
            memberships: timeline.memberships,
            is_limited: timeline.is_limited,
            state,
            summary: None,
            unread: 0,
        })
    }
}
