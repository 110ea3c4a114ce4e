//! The current state is what `ruma-state-res` makes of the states of the ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use homeserver_core::EventSn;
use room_engine::{Pdu, RoomVersion};
use ruma::events::{StateEventType, TimelineEventType};
use ruma::state_res::utils::event_id_set::EventIdSet;
use ruma::state_res::{Event, StateMap, resolve};
use ruma::{MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, UInt, UserId};
use serde_json::value::RawValue;
use storage::{GraphEvent, Standing};

use super::room::Room;

/// An event as ruma wants it.
struct Foreign {
    pdu: Pdu,
    event_id: OwnedEventId,
    event_type: TimelineEventType,
    content: Box<RawValue>,
    rejected: bool,
}

impl Event for Foreign {
    type Id = OwnedEventId;

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
        Box::new(self.pdu.prev_events().iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.pdu.auth_events().iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        None
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}

/// A state, by event IDs.
type Resolved = BTreeMap<(String, String), OwnedEventId>;

/// The events of a room as ruma wants them, and by number.
struct Events {
    version: RoomVersion,
    foreign: HashMap<OwnedEventId, Foreign>,
    ids: HashMap<EventSn, OwnedEventId>,
}

impl Events {
    fn of(room: &Room, graph: &[GraphEvent]) -> Self {
        let mut events = Self { version: room.version, foreign: HashMap::new(), ids: HashMap::new() };
        for event in graph {
            let pdu = room.parse(event);
            let content = String::from_utf8(pdu.content().as_bytes().to_vec()).unwrap();
            let foreign = Foreign {
                event_id: pdu.event_id().to_owned(),
                event_type: pdu.event_type().into(),
                content: RawValue::from_string(content).unwrap(),
                rejected: event.standing == Standing::Rejected,
                pdu,
            };
            events.ids.insert(event.stored.sn, foreign.event_id.clone());
            events.foreign.insert(foreign.event_id.clone(), foreign);
        }
        events
    }

    /// The state after an event.
    async fn state_after(&self, room: &Room, event: &GraphEvent) -> StateMap<OwnedEventId> {
        let entries = room.entries(event.state.unwrap()).await;
        let ids = entries.into_values().map(|sn| self.ids[&EventSn(sn)].clone());
        ids.map(|id| (place(&self.foreign[&id]), id)).collect()
    }

    /// What ruma makes of some states; `None` for the version that it does not know.
    fn resolve(&self, states: &[StateMap<OwnedEventId>]) -> Option<Resolved> {
        let rules = self.version.rules();
        let chain = |map: &StateMap<OwnedEventId>| closure(&self.foreign, map.values().cloned().collect());
        let chains: Vec<EventIdSet<OwnedEventId>> = states.iter().map(|map| chain(map).into_iter().collect()).collect();
        let resolved = resolve(
            &rules.authorization,
            rules.state_res.v2_rules()?,
            states,
            chains,
            |id| self.foreign.get(id),
            |conflicted| {
                let ends: BTreeSet<OwnedEventId> = conflicted.values().flatten().cloned().collect();
                let leads_to_one =
                    |id: &OwnedEventId| !closure(&self.foreign, BTreeSet::from([id.clone()])).is_disjoint(&ends);
                Some(closure(&self.foreign, ends.clone()).into_iter().filter(leads_to_one).collect())
            },
        );
        Some(by_text(resolved.unwrap()))
    }
}

fn by_text(state: StateMap<OwnedEventId>) -> Resolved {
    state.into_iter().map(|((kind, key), id)| ((kind.to_string(), key), id)).collect()
}

impl Room {
    /// Has ruma resolve the states of the room's ends, and checks that the current state is the same.
    pub(crate) async fn assert_resolved_as_by_ruma(&self) {
        let graph = self.graph().await;
        let events = Events::of(self, &graph);
        let ends = self.head().await.extremities;
        let mut states = Vec::new();
        for end in graph.iter().filter(|event| ends.contains(&event.stored.sn)) {
            states.push(events.state_after(self, end).await);
        }
        let Some(theirs) = events.resolve(&states) else { return };
        let ours = self.current_state().await.into_iter();
        let ours: Resolved = ours.map(|(place, pdu)| (place, pdu.event_id().to_owned())).collect();
        assert_eq!(ours, theirs, "the current state and that of ruma");
    }

    /// The same for the state after each event that follows several others.
    pub(crate) async fn assert_merges_resolved_as_by_ruma(&self) {
        let graph = self.graph().await;
        let events = Events::of(self, &graph);
        for event in &graph {
            let pdu = self.parse(event);
            let mut states = Vec::new();
            for prev in graph.iter().filter(|prev| pdu.prev_events().iter().any(|id| **id == *prev.stored.event_id)) {
                states.push(events.state_after(self, prev).await);
            }
            if states.len() < 2 {
                continue;
            }
            let Some(mut theirs) = events.resolve(&states) else { return };
            if let (Some(state_key), true) = (pdu.state_key(), event.standing != Standing::Rejected) {
                theirs.insert((pdu.event_type().to_owned(), state_key.to_owned()), pdu.event_id().to_owned());
            }
            let ours = by_text(events.state_after(self, event).await);
            assert_eq!(ours, theirs, "the state after {pdu:?} and that of ruma");
        }
    }
}

fn place(event: &Foreign) -> (StateEventType, String) {
    (StateEventType::from(event.pdu.event_type()), event.pdu.state_key().unwrap().to_owned())
}

/// Some events and their auth chains.
fn closure(events: &HashMap<OwnedEventId, Foreign>, of: BTreeSet<OwnedEventId>) -> BTreeSet<OwnedEventId> {
    let mut queue: Vec<OwnedEventId> = of.iter().cloned().collect();
    let mut found = of;
    while let Some(id) = queue.pop() {
        for named in events[&id].pdu.auth_events() {
            if found.insert(named.clone()) {
                queue.push(named.clone());
            }
        }
    }
    found
}
