//! The room as ruma resolves it. Event IDs are borrowed, so that none is copied.

use std::collections::BTreeMap;

use homeserver_core::EventSn;
use room_engine::{Pdu, RoomVersion, resolution::StatePlace};
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, RoomId, UInt, UserId,
    events::{StateEventType, TimelineEventType},
    state_res::{Event, StateMap, resolve, utils::event_id_set::EventIdSet},
};
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::value::RawValue;

use super::history::{History, State};

pub(crate) struct Theirs<'a> {
    history: &'a History,
    events: FxHashMap<&'a EventId, Foreign<'a>>,
    numbers: FxHashMap<&'a EventId, EventSn>,
    maps: FxHashMap<*const [State; 2], Vec<StateMap<&'a EventId>>>,
}

struct Foreign<'a> {
    pdu: &'a Pdu,
    event_id: &'a EventId,
    event_type: TimelineEventType,
    content: Box<RawValue>,
    prev_events: Vec<&'a EventId>,
    auth_events: Vec<&'a EventId>,
}

impl<'a> Event for Foreign<'a> {
    type Id = &'a EventId;

    fn event_id(&self) -> &Self::Id {
        &self.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        let derived = self.pdu.version() == RoomVersion::V12 && self.pdu.event_type() == "m.room.create";
        (!derived).then(|| self.pdu.room_id())
    }

    fn sender(&self) -> &UserId {
        self.pdu.sender()
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        MilliSecondsSinceUnixEpoch(UInt::try_from(self.pdu.origin_server_ts()).unwrap())
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.event_type
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.pdu.state_key()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        None
    }

    fn rejected(&self) -> bool {
        false
    }
}

impl<'a> Theirs<'a> {
    pub(crate) fn new(history: &'a History) -> Self {
        let foreign = |pdu: &'a Pdu| Foreign {
            pdu,
            event_id: pdu.event_id(),
            event_type: pdu.event_type().into(),
            content: RawValue::from_string(String::from_utf8(pdu.content().as_bytes().to_vec()).unwrap()).unwrap(),
            prev_events: pdu.prev_events().iter().map(|id| &**id).collect(),
            auth_events: pdu.auth_events().iter().map(|id| &**id).collect(),
        };
        let events = history.events.iter().map(|event| (event.pdu.event_id(), foreign(&event.pdu))).collect();
        let numbers = history.events.iter().map(|event| (event.pdu.event_id(), event.sn)).collect();
        let maps = [&history.large, &history.small].map(|forks| {
            let map = |fork: &State| {
                let entry = |(place, sn): (&super::history::Place, &EventSn)| {
                    let (event_type, state_key) = history.text(*place);
                    ((StateEventType::from(event_type), state_key), history.event(*sn).pdu.event_id())
                };
                fork.iter().map(entry).collect()
            };
            (std::ptr::from_ref(forks), forks.iter().map(map).collect())
        });
        Self { history, events, numbers, maps: maps.into_iter().collect() }
    }

    /// The winners of the places in which the resolved state differs from that of either branch, or they from each other.
    pub(crate) fn resolve(&self, forks: &[State; 2]) -> BTreeMap<StatePlace, Option<EventSn>> {
        let resolved = self.resolve_with(forks, self.auth_chains(forks));
        let [left, right] = forks;
        let places = left.keys().chain(right.keys()).filter(|place| left.get(place) != right.get(place));
        let winner = |place: &super::history::Place| {
            let (event_type, state_key) = self.history.text(*place);
            let winner = resolved.get(&(StateEventType::from(event_type), state_key.clone()));
            (StatePlace::new(event_type, &state_key), winner.map(|id| self.numbers[id]))
        };
        places.map(winner).collect()
    }

    pub(crate) fn resolve_with(
        &self,
        forks: &[State; 2],
        chains: Vec<EventIdSet<&'a EventId>>,
    ) -> StateMap<&'a EventId> {
        let rules = self.history.version.rules();
        let maps = &self.maps[&std::ptr::from_ref(forks)];
        let subgraph = |conflicted: &StateMap<Vec<&'a EventId>>| {
            Some(self.subgraph(&conflicted.values().flatten().copied().collect()))
        };
        let state_res = rules.state_res.v2_rules().unwrap();
        resolve(&rules.authorization, state_res, maps, chains, |id| self.events.get(id), subgraph).unwrap()
    }

    /// The auth chains of both states, walked through the graph in memory.
    pub(crate) fn auth_chains(&self, forks: &[State; 2]) -> Vec<EventIdSet<&'a EventId>> {
        let chain = |fork: &State| {
            let mut found = EventIdSet::new();
            let mut queue: Vec<&EventId> = fork.values().map(|sn| self.history.event(*sn).pdu.event_id()).collect();
            while let Some(id) = queue.pop() {
                if found.insert(id) {
                    queue.extend(&self.events[id].auth_events);
                }
            }
            found
        };
        forks.iter().map(chain).collect()
    }

    fn subgraph(&self, ends: &FxHashSet<&'a EventId>) -> EventIdSet<&'a EventId> {
        let mut below = ends.clone();
        let mut queue: Vec<&EventId> = ends.iter().copied().collect();
        while let Some(id) = queue.pop() {
            queue.extend(self.events[id].auth_events.iter().filter(|id| below.insert(id)));
        }
        // Numbers grow from auth events to those that name them.
        let mut order: Vec<&EventId> = below.into_iter().collect();
        order.sort_by_key(|id| self.numbers[id]);
        let mut leading = FxHashSet::default();
        for id in order {
            if ends.contains(id) || self.events[id].auth_events.iter().any(|id| leading.contains(id)) {
                leading.insert(id);
            }
        }
        leading.into_iter().collect()
    }
}
