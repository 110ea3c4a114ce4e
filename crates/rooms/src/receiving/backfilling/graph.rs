//! Which of the told events lead to a gap's end, and what of them is known here.

use std::collections::{HashMap, HashSet};

use homeserver_core::EventSn;
use room_engine::Pdu;
use room_engine::receipt::{VerifiedPdu, in_order};
use room_engine::state_map::StateMap;
use ruma::{EventId, OwnedEventId};
use storage::{Database, Gap, GraphEvent, Standing};

use super::super::event_context::is_placeless;
use super::states::Judged;
use crate::RoomError;
use crate::resolving::RoomIdentity;

/// Told events that come before the end of a gap, and what they refer to.
pub(super) struct BackwardGraph {
    /// The events that can be stored, each after those that it follows.
    pub(super) events: Vec<VerifiedPdu>,
    /// The stored events that the told ones and the frontier refer to, and those of the told ones that are stored.
    stored: HashMap<OwnedEventId, GraphEvent>,
    /// The events at the gap's end, and the events before each.
    frontier: Vec<(EventSn, Vec<OwnedEventId>)>,
    new: HashSet<OwnedEventId>,
}

impl BackwardGraph {
    pub(super) async fn load(
        database: &Database,
        room: &RoomIdentity,
        (gap, is_detached): (&Gap, bool),
        told: Vec<VerifiedPdu>,
    ) -> Result<Self, RoomError> {
        let mut frontier = Vec::with_capacity(gap.frontier.len());
        for event in database.graph_events(&gap.frontier).await? {
            frontier.push((event.stored.sn, room.parse(&event)?.prev_events().to_vec()));
        }
        let mut names: HashSet<OwnedEventId> = frontier.iter().flat_map(|(_, before)| before).cloned().collect();
        for event in &told {
            names.insert(event.event().event_id().to_owned());
            names.extend(event.event().prev_events().iter().cloned());
            names.extend(event.needed_events());
        }
        let names: Vec<String> = names.into_iter().map(String::from).collect();
        let mut stored = HashMap::new();
        for event in database.graph_events_by_id(room.room_sn, &names).await? {
            if let Ok(event_id) = EventId::parse(&*event.stored.event_id) {
                stored.insert(event_id, event);
            }
        }
        let mut graph = Self { events: Vec::new(), stored, frontier, new: HashSet::new() };
        graph.choose(told, is_detached);
        Ok(graph)
    }

    /// Keeps the told events that have no place here, in order; unless they are detached, only those that lead to the frontier.
    fn choose(&mut self, told: Vec<VerifiedPdu>, is_detached: bool) {
        let mut told: HashMap<OwnedEventId, VerifiedPdu> =
            told.into_iter().map(|event| (event.event().event_id().to_owned(), event)).collect();
        told.retain(|event_id, _| !self.has_place(event_id));
        let mut waiting: Vec<OwnedEventId> = match is_detached {
            true => told.keys().cloned().collect(),
            false => self.frontier.iter().flat_map(|(_, before)| before).cloned().collect(),
        };
        while let Some(event_id) = waiting.pop() {
            if let Some(event) = told.get(&event_id)
                && self.new.insert(event_id)
            {
                waiting.extend(event.event().prev_events().iter().cloned());
            }
        }
        told.retain(|event_id, _| self.new.contains(event_id));
        let ordered = in_order(told.values().map(|event| event.event().clone()).collect());
        self.events = ordered.events.iter().filter_map(|pdu| told.remove(pdu.event_id())).collect();
        self.new = self.events.iter().map(|event| event.event().event_id().to_owned()).collect();
    }

    pub(super) fn has_place(&self, event_id: &EventId) -> bool {
        self.stored.get(event_id).is_some_and(|event| !is_placeless(event))
    }

    /// Whether events before this one are missing, here and among the told ones.
    pub(super) fn follows_gap(&self, pdu: &Pdu) -> bool {
        self.lacks_any(pdu.prev_events())
    }

    fn lacks_any(&self, events: &[OwnedEventId]) -> bool {
        events.iter().any(|event_id| !self.has_place(event_id) && !self.new.contains(event_id))
    }

    pub(super) fn is_stored_or_new(&self, event_id: &EventId) -> bool {
        self.stored.contains_key(event_id) || self.new.contains(event_id)
    }

    /// The number of an event that is stored without a place.
    pub(super) fn number(&self, event_id: &EventId) -> Option<EventSn> {
        self.stored.get(event_id).map(|event| event.stored.sn)
    }

    /// The state after a stored event that has a place.
    pub(super) fn state_after(&self, event_id: &EventId) -> Option<StateMap> {
        self.stored.get(event_id).and_then(|event| event.state).filter(|state| *state != StateMap::EMPTY)
    }

    /// A stored event, and whether it was rejected.
    pub(super) fn evidence(&self, event_id: &EventId) -> Option<(&GraphEvent, bool)> {
        self.stored.get(event_id).map(|event| (event, event.standing == Standing::Rejected))
    }

    /// The events of the frontier whose previous events are still missing once the judged events are stored.
    pub(super) fn kept_frontier(&self, judged: &[Judged]) -> Vec<EventSn> {
        let placed: HashSet<&EventId> = judged.iter().map(|judged| judged.pdu.event_id()).collect();
        let is_missing = |event_id: &OwnedEventId| !self.has_place(event_id) && !placed.contains(&**event_id);
        let kept = self.frontier.iter().filter(|(_, before)| before.iter().any(is_missing));
        kept.map(|(sn, _)| *sn).collect()
    }
}
