//! Walking back through the events of a room.

use std::collections::{BinaryHeap, HashMap, HashSet};

use homeserver_core::TimelineOrder;
use room_engine::Pdu;
use ruma::OwnedEventId;
use storage::{Database, GraphEvent, Standing};

use crate::RoomError;
use crate::resolving::RoomIdentity;

/// For each event that is wanted, so many are looked at.
const LOOKED_AT: usize = 4;

/// A walk from events to those before them, the deepest first.
pub(super) struct WalkBack<'a> {
    database: &'a Database,
    room: &'a RoomIdentity,
    /// What was read and not visited yet.
    read: HashMap<Box<str>, GraphEvent>,
    waiting: BinaryHeap<(i64, TimelineOrder, Box<str>)>,
    seen: HashSet<Box<str>>,
}

/// An event of a walk.
pub(super) struct Visited {
    pub(super) event: GraphEvent,
    pub(super) pdu: Pdu,
}

impl<'a> WalkBack<'a> {
    /// A walk from these events on, as far as they are known here.
    pub(super) async fn from(
        database: &'a Database,
        room: &'a RoomIdentity,
        events: &[OwnedEventId],
        wanted: usize,
    ) -> Result<Self, RoomError> {
        let mut walk = Self { database, room, read: HashMap::new(), waiting: BinaryHeap::new(), seen: HashSet::new() };
        let names: Vec<String> = events.iter().map(ToString::to_string).collect();
        let first = database.graph_events_by_id(room.room_sn, &names).await?;
        // What comes before an event in the timeline is mostly what it refers to.
        if let Some(newest) = first.iter().map(|event| event.stored.order).max() {
            let limit = i64::try_from(wanted.saturating_add(first.len())).unwrap_or(i64::MAX);
            for event in database.graph_events_before(room.room_sn, newest, limit).await? {
                walk.read.insert(event.stored.event_id.clone(), event);
            }
        }
        walk.add(first)?;
        Ok(walk)
    }

    fn add(&mut self, events: Vec<GraphEvent>) -> Result<(), RoomError> {
        for event in events {
            if self.seen.insert(event.stored.event_id.clone()) {
                let depth = self.room.parse(&event)?.depth();
                self.waiting.push((depth, event.stored.order, event.stored.event_id.clone()));
                self.read.insert(event.stored.event_id.clone(), event);
            }
        }
        Ok(())
    }

    /// The next event; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Visited>, RoomError> {
        while let Some((_, _, event_id)) = self.waiting.pop() {
            if let Some(event) = self.read.remove(&event_id) {
                let pdu = self.room.parse(&event)?;
                return Ok(Some(Visited { event, pdu }));
            }
        }
        Ok(None)
    }

    /// Goes on to the events before this one, as far as they are in the room's graph here.
    pub(super) async fn follow(&mut self, visited: &Visited) -> Result<(), RoomError> {
        let before = visited.pdu.prev_events().iter().filter(|id| !self.seen.contains(id.as_str()));
        let (mut found, mut unread) = (Vec::new(), Vec::new());
        for event_id in before {
            match self.read.remove(event_id.as_str()) {
                Some(event) => found.push(event),
                None => unread.push(event_id.to_string()),
            }
        }
        if !unread.is_empty() {
            found.extend(self.database.graph_events_by_id(self.room.room_sn, &unread).await?);
        }
        self.add(found)
    }

    /// Visits up to `wanted` events that can be given to others, and those before them.
    pub(super) async fn collect(
        &mut self,
        wanted: usize,
        mut is_wanted: impl FnMut(&Visited) -> bool,
    ) -> Result<Vec<GraphEvent>, RoomError> {
        let mut collected = Vec::with_capacity(wanted);
        for _ in 0..wanted.saturating_mul(LOOKED_AT) {
            if collected.len() >= wanted {
                break;
            }
            let Some(visited) = self.next()? else { break };
            if !is_wanted(&visited) {
                continue;
            }
            self.follow(&visited).await?;
            if is_given_out(&visited.event) {
                collected.push(visited.event);
            }
        }
        Ok(collected)
    }
}

/// Whether an event has a place in the room's graph here, by the rules of the room.
pub(super) fn is_given_out(event: &GraphEvent) -> bool {
    event.standing != Standing::Rejected && event.state.is_some()
}
