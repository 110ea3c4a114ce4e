//! Pages of a room's timeline.

use std::collections::HashSet;

use accounts::filters::RoomEventFilter;
use accounts::ignoring::Ignored;
use homeserver_core::{Position, TimelineOrder};
use storage::{Database, Gap, Interned, StorageError, StoredEvent};

use super::access::Access;
use super::erasure::redact_erased;
use super::related_by::related_by;
use crate::RoomError;

/// The most events of a page.
const MAX_LIMIT: u64 = 1_000;
/// The events of a page if the client names no limit.
const DEFAULT_LIMIT: u64 = 10;
/// At most so many events are looked at for one page. If the filter passes fewer than the client wants, it can ask for the
/// next page.
const MAX_SCANNED: usize = 5_000;
/// So many events are read at once after the first read did not fill the page.
const BATCH: usize = 500;

/// The direction in which a client reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From new to old.
    Backwards,
    /// From old to new.
    Forwards,
}

/// A request for a page of a timeline.
#[derive(Clone, Debug)]
pub struct MessagesRequest {
    /// The place to start from; if absent, the end of the timeline, or its start for reading forwards.
    pub from: Option<TimelineOrder>,
    /// The place to stop at.
    pub to: Option<TimelineOrder>,
    /// The direction.
    pub direction: Direction,
    /// The most events.
    pub limit: Option<u64>,
    /// The filter on the events.
    pub filter: RoomEventFilter,
    /// Whether to read on where events are missing, instead of ending the page there.
    pub crosses_gaps: bool,
}

/// A page of a timeline, as clients are answered.
#[derive(Debug)]
pub struct Messages {
    /// The JSON of the answer.
    pub json: Vec<u8>,
    /// Where the page ends because the events before that are missing here, if it is not full.
    pub gap: Option<Gap>,
    /// Whether there are no events in it.
    pub is_empty: bool,
}

/// A page of a timeline.
pub(super) struct Page {
    /// In the order of the direction.
    pub(super) events: Vec<StoredEvent>,
    /// The place to continue from; `None` if there are no more events.
    pub(super) next: Option<TimelineOrder>,
    /// Whether everything up to the end was looked at.
    pub(super) is_whole: bool,
}

/// The most events of a page for a client's `limit`.
pub(super) fn bounded(limit: Option<u64>) -> usize {
    usize::try_from(limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT)).unwrap_or(0)
}

/// A scan for events that pass the filter and that the user may read.
pub(super) struct Scan<'a> {
    pub(super) database: &'a Database,
    pub(super) interned: &'a Interned,
    pub(super) access: &'a Access<'a>,
    pub(super) ignored: Ignored,
    pub(super) filter: &'a RoomEventFilter,
    pub(super) limit: usize,
}

impl Scan<'_> {
    /// The next events from `from` on in a direction, up to `to`.
    pub(super) async fn page(
        &self,
        direction: Direction,
        from: TimelineOrder,
        to: TimelineOrder,
    ) -> Result<Page, RoomError> {
        let nothing = Page { events: Vec::new(), next: None, is_whole: true };
        let Some((first, last)) = self.readable().await? else { return Ok(nothing) };
        if !self.filter.includes_room(self.access.room_id.as_str()) {
            return Ok(nothing);
        }
        // The events left to look at have places above `after`, up to `until`.
        let (mut after, mut until) = match direction {
            Direction::Backwards => (to.max(first), from.min(last)),
            Direction::Forwards => (from.max(first), to.min(last)),
        };
        let mut events = Vec::with_capacity(self.limit);
        let (mut scanned, mut is_through) = (0, false);
        while after < until && scanned < MAX_SCANNED {
            // One event more than the page holds shows that there is another page.
            let wanted = if scanned == 0 { self.limit + 1 } else { BATCH };
            let mut read = self.read(direction, after, until, wanted).await?;
            self.access.look_at(self.database, self.interned, &read).await?;
            redact_erased(self.database, &self.access.visibility, &mut read).await?;
            let is_last = read.len() < wanted;
            let related = self.related(&read).await?;
            for event in read {
                if events.len() == self.limit {
                    return Ok(Page { events, next: Some(cursor(direction, after, until)), is_whole: false });
                }
                match direction {
                    Direction::Backwards => until = event.order.before(),
                    Direction::Forwards => after = event.order,
                }
                let is_wanted = self.filter.includes_event(&event.client_json)
                    && !self.ignored.hides(&event)
                    && related.as_ref().is_none_or(|related| related.contains(&*event.event_id));
                if is_wanted && self.access.may_see(&event) {
                    events.push(event);
                }
                scanned += 1;
            }
            if is_last {
                is_through = true;
                break;
            }
        }
        // A client that read forwards to the end of the timeline can continue there. A page with events has a next page, as in
        // other servers, though that one may be empty.
        let is_unfinished = after < until && !is_through;
        let has_next = is_unfinished || !events.is_empty() || (direction == Direction::Forwards && scanned > 0);
        let next = has_next.then(|| cursor(direction, after, until));
        Ok(Page { events, next, is_whole: !is_unfinished })
    }

    /// The places after and up to which the reader may read.
    async fn readable(&self) -> Result<Option<(TimelineOrder, TimelineOrder)>, StorageError> {
        let Some((first, last)) = self.access.visibility.readable() else { return Ok(None) };
        // What was fetched into a gap has its own state, by which it may be visible among events that are not.
        let is_whole = first < Position::START || self.database.has_gaps(self.access.room_sn).await?;
        let first = if is_whole { TimelineOrder::START } else { TimelineOrder::end_of(first) };
        Ok(Some((first, TimelineOrder::end_of(last))))
    }

    /// Which of the events are related to as the filter wants, if it asks that.
    async fn related(&self, events: &[StoredEvent]) -> Result<Option<HashSet<String>>, StorageError> {
        let ids: Vec<String> = match self.filter.asks_relations() {
            true => events.iter().map(|event| event.event_id.to_string()).collect(),
            false => Vec::new(),
        };
        related_by(self.database, self.interned, self.filter, self.access.room_sn, &ids).await
    }

    async fn read(
        &self,
        direction: Direction,
        after: TimelineOrder,
        until: TimelineOrder,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (room_sn, requester) = (self.access.room_sn, self.access.requester);
        let reader = requester.device_sn.map(|device_sn| (device_sn, requester.user_sn));
        match direction {
            Direction::Backwards => self.database.timeline_backwards(room_sn, after, until, limit, reader).await,
            Direction::Forwards => self.database.timeline_forwards(room_sn, after, until, limit, reader).await,
        }
    }
}

/// The place at which the next page starts.
fn cursor(direction: Direction, after: TimelineOrder, until: TimelineOrder) -> TimelineOrder {
    match direction {
        Direction::Backwards => until,
        Direction::Forwards => after,
    }
}
