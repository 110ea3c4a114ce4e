//! Rooms that the user has left, was removed from, or declined to join.

use std::collections::HashMap;
use std::sync::Arc;

use homeserver_core::Position;
use rooms::RoomError;
use rooms::reading::redact_erased;
use rooms::wire::Bundles;
use storage::Membership;

use super::Sync;
use super::joined::RoomAnswer;
use super::members::StateBefore;
use crate::providers::Pass;
use crate::providers::changes::{Before, RoomUpdate};
use crate::providers::timelines::empty_timeline;

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
                None => pass.wants.left_rooms(),
            };
            if is_gone && is_news {
                answers.push(self.left_room(pass, update).await?);
            }
        }
        Ok(answers)
    }

    /// The room up to the user's leaving.
    async fn left_room(&self, pass: &Pass<'_>, update: &RoomUpdate) -> Result<RoomAnswer, RoomError> {
        let end = pass.until(update.since);
        let was_joined = update.before == Before::Joined;
        let after = if was_joined { pass.after() } else { Position::START };
        let mut timelines = self.providers.read_timelines(&end, &[update], after).await?;
        let mut timeline = timelines.remove(&update.room_sn).unwrap_or_else(|| empty_timeline(end.to));
        if let Some(first) = timeline.events.first() {
            let visibility = self.providers.visibility(pass, update, first).await?;
            // Everybody sees themselves go.
            let read = timeline.events.len();
            timeline.events.retain(|event| event.sn.position() == update.since || visibility.may_see(event));
            timeline.is_sieved |= timeline.events.len() < read;
            redact_erased(&self.providers.database, &visibility, &mut timeline.events).await?;
            timeline.memberships = timeline.events.iter().map(|event| Some(visibility.membership_at(event))).collect();
        }
        if let Some(first) = timeline.events.first() {
            timeline.start = first.order.before().position();
        }
        if let Some(event) = self.providers.remote_departure(pass, update).await? {
            timeline.events.push(event);
            timeline.memberships.push(Some(update.membership));
        }
        // Somebody who has left can still be banned, and sees no state of the time between.
        let departure =
            self.providers.database.last_departure(update.room_sn, pass.requester.user_sn, update.since).await?;
        let state = if let Some(departure) = departure {
            let inside = pass.until(departure);
            let state = if was_joined && !pass.wants.full_state {
                self.providers.read_changed_state(&inside, update, &timeline).await?
            } else {
                let entries = self.providers.entries_at(pass, update, departure).await?;
                let sns: Vec<i64> = entries.into_iter().map(|entry| entry.event_sn.0).collect();
                self.providers.state_before(&inside, &timeline, self.providers.load_events(&sns).await?).await?
            };
            let mut members = self.providers.load_members(&inside, &[(update, &timeline, &[])], true).await?;
            let members = members.remove(&update.room_sn).unwrap_or_default();
            let before = StateBefore { events: state, members, is_fresh: true };
            self.choose_state(&inside, update, &mut timeline, before).await?
        } else {
            Vec::new()
        };
        Ok(RoomAnswer {
            room_sn: update.room_sn,
            room_id: Arc::clone(&update.room_id),
            prev_batch: timeline.start,
            timeline: timeline.events,
            memberships: timeline.memberships,
            is_limited: timeline.is_limited,
            state,
            more_members: None,
            pdus: HashMap::new(),
            bundles: Bundles::default(),
            summary: None,
            is_completed: false,
            ephemeral: Vec::new(),
            is_read_further: false,
            unread: Arc::default(),
        })
    }
}
