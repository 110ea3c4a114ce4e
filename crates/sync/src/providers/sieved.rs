//! Timelines with a filter that keeps some events back.

use homeserver_core::Position;
use rooms::RoomError;
use storage::Membership;

use super::changes::RoomUpdate;
use super::timelines::TimelinePart;
use super::{Pass, Providers};

/// How often older events are read for a timeline that is not full yet.
const FURTHER_READS: usize = 5;
/// Events that are read at a time.
const EVENTS_AT_ONCE: usize = 200;

impl Providers {
    /// Adds older events that the filter lets through until the timeline is full. It reads a bounded number of events for that.
    pub(crate) async fn look_further_back(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        after: Position,
        timeline: &mut TimelinePart,
    ) -> Result<(), RoomError> {
        let limit = pass.wants.timeline_limit();
        let at_once = i64::try_from(EVENTS_AT_ONCE).unwrap_or(i64::MAX);
        for _ in 0..FURTHER_READS {
            let missing = limit.saturating_sub(timeline.events.len());
            if missing == 0 {
                break;
            }
            let rooms = [update.room_sn.0];
            let mut page = self.database.timelines_backwards(&rooms, after, timeline.start, at_once).await?;
            let is_full = page.len() == EVENTS_AT_ONCE;
            let gap = page.iter().position(|event| event.follows_gap);
            page.truncate(gap.map_or(page.len(), |gap| gap + 1));
            let end = match page.last() {
                Some(oldest) if is_full || gap.is_some() => oldest.order.before().position(),
                _ => after,
            };
            let page = self.with_transaction_ids(pass, page).await?;
            let mut older = self.filtered_timeline(pass, page, &update.room_id).await?;
            let is_cut = older.len() > missing;
            older.truncate(missing);
            let first = older.last().filter(|_| is_cut);
            timeline.start = first.map_or(end, |first| first.order.before().position());
            timeline.is_limited = is_cut || end > after;
            older.reverse();
            older.append(&mut timeline.events);
            timeline.events = older;
            if !timeline.is_limited || gap.is_some() {
                break;
            }
        }
        timeline.memberships = vec![Some(Membership::Join); timeline.events.len()];
        Ok(())
    }
}
