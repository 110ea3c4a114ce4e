//! What relates to the events of timelines.
//!
//! An event that is new since the last answer has relations only among what is new after it, so rooms whose events are all in memory are
//! asked about only if one of those relates to another event.

use homeserver_core::{TimelineOrder, Timestamp};
use room_engine::Relation;
use rooms::RoomError;
use rooms::reading::{Bundling, Sight};
use storage::{Membership, StoredEvent};

use super::Sync;
use super::joined::RoomAnswer;
use crate::providers::Pass;
use crate::providers::changes::RoomUpdate;

impl Sync {
    /// Adds to the answers what relates to their events.
    pub(super) async fn add_bundles(
        &self,
        pass: &Pass<'_>,
        updates: &[RoomUpdate],
        answers: &mut [RoomAnswer],
        now: Timestamp,
    ) -> Result<(), RoomError> {
        let mut at_once = Vec::new();
        for answer in answers.iter_mut() {
            let Some(update) = updates.iter().find(|update| update.room_sn == answer.room_sn) else { continue };
            if !may_have_relations(update) {
                continue;
            }
            let is_inside = update.membership == Membership::Join;
            match answer.timeline.first() {
                None => {}
                Some(first) if is_inside && first.sn.position() >= update.since => at_once.push(answer),
                Some(first) => {
                    let visibility = self.providers.visibility(pass, update, first).await?;
                    let until = if is_inside { pass.to } else { update.since.min(pass.to) };
                    let bundling = self.bundling(pass, Sight::of(&visibility), TimelineOrder::end_of(until), now);
                    answer.bundles = bundling.bundles(answer.timeline.iter().map(|event| &**event)).await?;
                }
            }
        }
        // One question for all rooms that the user was in all the time.
        let bundling = self.bundling(pass, Sight::WHOLE, TimelineOrder::end_of(pass.to), now);
        let events: Vec<&StoredEvent> =
            at_once.iter().flat_map(|answer| answer.timeline.iter().map(|event| &**event)).collect();
        let mut bundles = bundling.bundles(events).await?;
        for answer in at_once {
            answer.bundles = bundles.take(answer.timeline.iter().map(|event| event.sn));
        }
        Ok(())
    }

    fn bundling<'a>(
        &'a self,
        pass: &'a Pass<'_>,
        sight: Sight<'a>,
        until: TimelineOrder,
        now: Timestamp,
    ) -> Bundling<'a> {
        Bundling {
            database: &self.providers.database,
            interned: &self.providers.interned,
            requester: pass.requester,
            ignored: &pass.ignored,
            sight,
            until,
            room_id: None,
            now,
        }
    }
}

/// Whether an event of the update may be related to. `false` only if that is known from memory.
fn may_have_relations(update: &RoomUpdate) -> bool {
    let Some(events) = &update.events else { return true };
    events.iter().any(|event| Relation::of(&event.client_json).is_some())
}
