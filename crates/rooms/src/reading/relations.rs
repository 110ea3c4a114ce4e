//! The events that relate to an event.

use std::collections::{BTreeMap, HashSet};

use accounts::sessions::Requester;
use event_log::tokens::history_token;
use homeserver_core::{EventSn, TimelineOrder, TypeSn};
use ruma::{EventId, RoomId};
use storage::{RelationsOf, StoredEvent};

use super::access::Access;
use super::erasure::redact_erased;
use super::history::History;
use super::page::{Direction, bounded};
use super::writing::{EventWriter, with_transaction_ids};
use crate::RoomError;
use crate::wire::{push_number, push_string};

/// Most events of a page.
const MAX_LIMIT: usize = 100;
/// Most events that are looked at for a page. If the reader may see fewer than wanted, there is a next page.
const MAX_SCANNED: usize = 1_000;
/// How far relations of relations are followed.
const MAX_DEPTH: usize = 3;
/// Most relations that are followed at each step; the newest are.
const MAX_FOLLOWED: i64 = 2_000;

/// A request for the events that relate to an event.
#[derive(Clone, Debug)]
pub struct RelationsRequest {
    /// The kind of the relation; all if absent.
    pub rel_type: Option<String>,
    /// The type of the events; all if absent.
    pub event_type: Option<String>,
    /// The place to start from.
    pub from: Option<TimelineOrder>,
    /// The place to stop at.
    pub to: Option<TimelineOrder>,
    /// The direction.
    pub direction: Direction,
    /// The most events.
    pub limit: Option<u64>,
    /// Whether events that relate to those that relate to the event are wanted as well.
    pub recurse: bool,
}

/// A page of events, in the order of the direction, and the place where the next one begins.
struct RelationsPage {
    events: Vec<StoredEvent>,
    next: Option<TimelineOrder>,
    depth: Option<usize>,
}

/// Where to look.
struct Range {
    after: TimelineOrder,
    until: TimelineOrder,
    direction: Direction,
    limit: usize,
}

impl History {
    /// A page of the events that relate to an event: the JSON of the answer.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid>
    ///
    /// # Errors
    /// [`RoomError::NotFound`] if there is no such event in the room, or the user may not read it.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn relations(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        event_id: &EventId,
        request: &RelationsRequest,
    ) -> Result<Vec<u8>, RoomError> {
        let access = self.access_to_event(requester, room_id).await?;
        self.visible_event(&access, event_id).await?;
        let first = TimelineOrder::START;
        let last = access.visibility.readable().map_or(first, |(_, last)| TimelineOrder::end_of(last));
        let (after, until) = match request.direction {
            Direction::Backwards => (request.to.unwrap_or(first), request.from.unwrap_or(last).min(last)),
            Direction::Forwards => (request.from.unwrap_or(first), request.to.unwrap_or(last).min(last)),
        };
        let limit = bounded(request.limit).clamp(1, MAX_LIMIT);
        let range = Range { after, until, direction: request.direction, limit };
        let page = match self.type_of(request).await? {
            None => RelationsPage { events: Vec::new(), next: None, depth: request.recurse.then_some(0) },
            Some(type_sn) if request.recurse => {
                self.indirect_relations(&access, event_id, request, type_sn, range).await?
            }
            Some(type_sn) => self.direct_relations(&access, event_id, request, type_sn, range).await?,
        };
        self.write_relations(&access, request, page).await
    }

    /// The number of the wanted type; `None` if there are no events of that type at all.
    async fn type_of(&self, request: &RelationsRequest) -> Result<Option<Option<TypeSn>>, RoomError> {
        let Some(event_type) = &request.event_type else { return Ok(Some(None)) };
        Ok(self.interned.find_type(event_type).await?.map(Some))
    }

    async fn direct_relations(
        &self,
        access: &Access<'_>,
        event_id: &EventId,
        request: &RelationsRequest,
        type_sn: Option<TypeSn>,
        range: Range,
    ) -> Result<RelationsPage, RoomError> {
        let Range { mut after, mut until, direction, limit } = range;
        let is_backwards = direction == Direction::Backwards;
        let wanted = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let mut events = Vec::with_capacity(limit);
        let mut scanned = 0;
        while scanned < MAX_SCANNED {
            let (room_sn, rel_type) = (access.room_sn, request.rel_type.as_deref());
            let of = RelationsOf { room_sn, target_id: event_id.as_str(), rel_type, type_sn, after, until };
            let read = self.database.relations(&of, is_backwards, wanted).await?;
            scanned += read.len();
            let is_last = read.len() <= limit;
            let places: Vec<TimelineOrder> = read.iter().map(|event| event.order).collect();
            let mut shown = self.shown(access, read).await?.into_iter().peekable();
            for place in places {
                if events.len() == limit {
                    let next = if is_backwards { until } else { after };
                    return Ok(RelationsPage { events, next: Some(next), depth: None });
                }
                events.extend(shown.next_if(|event| event.order == place));
                match direction {
                    Direction::Backwards => until = place.before(),
                    Direction::Forwards => after = place,
                }
            }
            if is_last {
                return Ok(RelationsPage { events, next: None, depth: None });
            }
        }
        let next = if is_backwards { until } else { after };
        Ok(RelationsPage { events, next: Some(next), depth: None })
    }

    /// The events that relate to the event, to one of those, and so on.
    async fn indirect_relations(
        &self,
        access: &Access<'_>,
        event_id: &EventId,
        request: &RelationsRequest,
        type_sn: Option<TypeSn>,
        range: Range,
    ) -> Result<RelationsPage, RoomError> {
        let mut followed: HashSet<String> = HashSet::from([event_id.to_string()]);
        let mut targets = vec![event_id.to_string()];
        let mut found: BTreeMap<TimelineOrder, EventSn> = BTreeMap::new();
        let mut depth = 0;
        while depth < MAX_DEPTH && !targets.is_empty() {
            let related = self.database.related_events(access.room_sn, &targets, MAX_FOLLOWED).await?;
            depth += usize::from(!related.is_empty());
            targets.clear();
            for event in related {
                let is_wanted = request.rel_type.as_deref().is_none_or(|rel_type| rel_type == &*event.rel_type)
                    && type_sn.is_none_or(|type_sn| type_sn == event.type_sn);
                if is_wanted && event.order > range.after && event.order <= range.until {
                    found.insert(event.order, event.event_sn);
                }
                // An event that relates to one that relates to it is followed once.
                if followed.insert(event.event_id.clone()) {
                    targets.push(event.event_id);
                }
            }
        }
        let is_more = found.len() > range.limit;
        let cut: Vec<(TimelineOrder, EventSn)> = match range.direction {
            Direction::Backwards => found.into_iter().rev().take(range.limit).collect(),
            Direction::Forwards => found.into_iter().take(range.limit).collect(),
        };
        let next = cut.last().filter(|_| is_more).map(|(order, _)| match range.direction {
            Direction::Backwards => order.before(),
            Direction::Forwards => *order,
        });
        let sns: Vec<i64> = cut.iter().map(|(_, sn)| sn.0).collect();
        let mut events = self.shown(access, self.database.events(&sns).await?).await?;
        events.sort_unstable_by_key(|event| event.order);
        if range.direction == Direction::Backwards {
            events.reverse();
        }
        Ok(RelationsPage { events, next, depth: Some(depth) })
    }

    /// Those of the events that the reader is shown.
    async fn shown(&self, access: &Access<'_>, mut events: Vec<StoredEvent>) -> Result<Vec<StoredEvent>, RoomError> {
        let ignored = self.ignored_users.of(access.requester).await?;
        access.look_at(&self.database, &self.interned, &events).await?;
        events.retain(|event| access.may_see(event) && !ignored.hides(event));
        redact_erased(&self.database, &access.visibility, &mut events).await?;
        Ok(events)
    }

    async fn write_relations(
        &self,
        access: &Access<'_>,
        request: &RelationsRequest,
        mut page: RelationsPage,
    ) -> Result<Vec<u8>, RoomError> {
        with_transaction_ids(&self.database, access.requester, &mut page.events).await?;
        let bundles = self.bundles(access, &page.events).await?;
        let writer = EventWriter::new(access, self.clock.now()).with_bundles(&bundles);
        let mut out = Vec::with_capacity(page.events.len() * 1024 + 128);
        out.extend_from_slice(b"{\"chunk\":");
        writer.timeline(&mut out, &page.events);
        if let Some(next) = page.next {
            out.extend_from_slice(b",\"next_batch\":");
            push_string(&mut out, &history_token(next));
        }
        if let Some(from) = request.from {
            out.extend_from_slice(b",\"prev_batch\":");
            push_string(&mut out, &history_token(from));
        }
        if let Some(depth) = page.depth {
            out.extend_from_slice(b",\"recursion_depth\":");
            push_number(&mut out, i64::try_from(depth).unwrap_or(i64::MAX));
        }
        out.push(b'}');
        Ok(out)
    }
}
