//! The newest events of rooms.

use std::collections::HashMap;
use std::sync::Arc;

use homeserver_core::{EventSn, Position, RoomSn};
use rooms::RoomError;
use rooms::reading::{Visibility, redact_erased};
use storage::{Membership, StoredEvent};

use super::changes::RoomUpdate;
use super::{Pass, Providers};

/// The timeline of a room with what is needed to make its state.
#[derive(Clone)]
pub(crate) struct TimelinePart {
    pub(crate) events: Vec<Arc<StoredEvent>>,
    pub(crate) memberships: Vec<Option<Membership>>,
    pub(crate) is_limited: bool,
    /// Whether events were taken out of the timeline: the client has to be told otherwise of the state among them.
    pub(crate) is_sieved: bool,
    /// Everything of the pass is after this position, or in `gap`.
    pub(crate) start: Position,
    /// The events of the pass that are not in the timeline, if they are known.
    pub(crate) gap: Option<Vec<Arc<StoredEvent>>>,
}

impl TimelinePart {
    /// Whether the client needs the event as state: it is of the pass, and the timeline does not show it.
    pub(crate) fn needs_as_state(&self, pass: &Pass<'_>, event_sn: EventSn) -> bool {
        let position = event_sn.position();
        // Not in the order of their numbers: an outlier keeps its number when it gets its place.
        let is_shown = || self.events.iter().any(|event| event.sn == event_sn);
        position <= pass.to && (pass.wants.state_after || position <= self.start || !is_shown())
    }
}

impl Providers {
    /// The newest events of those in memory.
    pub(crate) async fn cut_timeline(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        events: &[Arc<StoredEvent>],
    ) -> Result<TimelinePart, RoomError> {
        // What comes before a gap is not what comes before the events after it.
        let since_gap = events.iter().rposition(|event| event.follows_gap).and_then(|first| events.get(first..));
        let contiguous = since_gap.unwrap_or(events);
        let wanted = self.filtered_timeline(pass, contiguous.iter().cloned(), &update.room_id).await?;
        let is_sieved = wanted.len() < contiguous.len();
        let limit = pass.wants.timeline_limit();
        let cut = wanted.len().saturating_sub(limit);
        let timeline = wanted.get(cut..).unwrap_or_default().to_vec();
        let is_limited = cut > 0 || since_gap.is_some();
        let first = if cut > 0 { timeline.first() } else { contiguous.first() };
        let start = match first {
            _ if !is_limited => pass.after(),
            Some(first) => first.order.before().position(),
            None => pass.to,
        };
        let gap = events.iter().filter(|event| !timeline.iter().any(|shown| shown.sn == event.sn)).cloned().collect();
        let memberships = vec![Some(Membership::Join); timeline.len()];
        Ok(TimelinePart { events: timeline, memberships, is_limited, is_sieved, start, gap: Some(gap) })
    }

    /// The newest events of many rooms, from the database.
    pub(crate) async fn read_timelines(
        &self,
        pass: &Pass<'_>,
        updates: &[&RoomUpdate],
        after: Position,
    ) -> Result<HashMap<RoomSn, TimelinePart>, RoomError> {
        let rooms: Vec<i64> = updates.iter().map(|update| update.room_sn.0).collect();
        if rooms.is_empty() {
            return Ok(HashMap::new());
        }
        let limit = pass.wants.timeline_limit();
        let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let read = self.database.timelines_backwards(&rooms, after, pass.to, wanted).await?;
        let read = self.with_transaction_ids(pass, read).await?;
        let mut by_room: HashMap<RoomSn, Vec<Arc<StoredEvent>>> = HashMap::with_capacity(rooms.len());
        for event in read {
            by_room.entry(event.room_sn).or_default().push(event);
        }
        let mut timelines = HashMap::with_capacity(rooms.len());
        for update in updates {
            let mut events = by_room.remove(&update.room_sn).unwrap_or_default();
            // What comes before a gap is not what comes before the events after it.
            let first = events.iter().position(|event| event.follows_gap).map(|first| first + 1);
            let is_cut_at_gap = first.is_some_and(|first| first <= limit);
            events.truncate(first.unwrap_or(events.len()));
            let is_limited = events.len() > limit || is_cut_at_gap;
            events.truncate(limit);
            let start = events.last().filter(|_| is_limited).map_or(after, |oldest| oldest.order.before().position());
            events.reverse();
            let read = events.len();
            let events = self.filtered_timeline(pass, events, &update.room_id).await?;
            let is_sieved = events.len() < read;
            let memberships = vec![Some(Membership::Join); events.len()];
            let start = if limit == 0 && is_limited { pass.to } else { start };
            let mut timeline = TimelinePart { events, memberships, is_limited, is_sieved, start, gap: None };
            if is_sieved && is_limited && !is_cut_at_gap {
                self.look_further_back(pass, update, after, &mut timeline).await?;
            }
            timelines.insert(update.room_sn, timeline);
        }
        Ok(timelines)
    }

    /// Adds the transaction IDs of what the reader's device sent.
    pub(crate) async fn with_transaction_ids(
        &self,
        pass: &Pass<'_>,
        mut events: Vec<StoredEvent>,
    ) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        let sent: Vec<i64> =
            events.iter().filter(|event| event.sender_sn == pass.requester.user_sn).map(|event| event.sn.0).collect();
        if let (Some(device_sn), false) = (pass.requester.device_sn, sent.is_empty()) {
            let ids = self.database.transaction_ids(device_sn, &sent).await?;
            let mut ids: HashMap<_, _> = ids.into_iter().collect();
            for event in &mut events {
                event.transaction = ids.remove(&event.sn).map(|id| (device_sn, id));
            }
        }
        Ok(events.into_iter().map(Arc::new).collect())
    }

    /// Takes events out of the timeline that the user may not see: those before the user's time, if the room says so.
    pub(crate) async fn hide_invisible(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &mut TimelinePart,
    ) -> Result<(), RoomError> {
        let Some(first) = timeline.events.first().filter(|first| first.sn.position() < update.since) else {
            return Ok(());
        };
        let visibility = self.visibility(pass, update, first).await?;
        let before = timeline.events.len();
        timeline.events.retain(|event| visibility.may_see(event));
        let is_hiding = timeline.events.len() < before;
        (timeline.is_limited, timeline.is_sieved) = (timeline.is_limited || is_hiding, timeline.is_sieved || is_hiding);
        redact_erased(&self.database, &visibility, &mut timeline.events).await?;
        timeline.memberships = timeline.events.iter().map(|event| Some(visibility.membership_at(event))).collect();
        if let Some(first) = timeline.events.first() {
            timeline.start = first.order.before().position();
        }
        Ok(())
    }

    /// What the user may see of a room from an event on.
    pub(crate) async fn visibility(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        first: &StoredEvent,
    ) -> Result<Visibility, RoomError> {
        // The state just before the event also decides whether a change of visibility or membership is seen.
        let from = first.order.before().position();
        Ok(Visibility::load(&self.database, &self.interned, &update.state, pass.requester.user_sn, from).await?)
    }
}

pub(crate) fn empty_timeline(at: Position) -> TimelinePart {
    TimelinePart {
        events: Vec::new(),
        memberships: Vec::new(),
        is_limited: false,
        is_sieved: false,
        start: at,
        gap: Some(Vec::new()),
    }
}
