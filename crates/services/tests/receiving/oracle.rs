//! The current state is what `ruma-state-res` makes of the states of the ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use homeserver_core::EventSn;
use room_engine::{Pdu, RoomVersion};
use ruma::events::{StateEventType, TimelineEventType};
use ruma::state_res::utils::event_id_set::EventIdSet;
use ruma::state_res::{Event, StateMap, resolve};
use ruma::{EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, UInt, UserId};
use serde_json::value::RawValue;
use storage::Standing;

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

impl Room {
    /// Has ruma resolve the states of the room's ends, and checks that the current state is the same.
    pub(crate) async fn assert_resolved_as_by_ruma(&self) {
        let rules = self.version.rules();
        let Some(resolution) = rules.state_res.v2_rules() else { return };
        let graph = self.graph().await;
        let foreign: HashMap<OwnedEventId, Foreign> = graph
            .iter()
            .map(|event| {
                let pdu = self.parse(event);
                let content = String::from_utf8(pdu.content().as_bytes().to_vec()).unwrap();
                let foreign = Foreign {
                    event_id: pdu.event_id().to_owned(),
                    event_type: pdu.event_type().into(),
                    content: RawValue::from_string(content).unwrap(),
                    rejected: event.standing == Standing::Rejected,
                    pdu,
                };
                (foreign.event_id.clone(), foreign)
            })
            .collect();
        let ids: HashMap<EventSn, OwnedEventId> =
            graph.iter().map(|event| (event.stored.sn, EventId::parse(&*event.stored.event_id).unwrap())).collect();
        let mut maps = Vec::new();
        for end in self.head().await.extremities {
            let end = graph.iter().find(|event| event.stored.sn == end).unwrap();
            let entries = self.entries(end.state.unwrap()).await;
            maps.push(entries.into_values().map(|sn| ids[&EventSn(sn)].clone()).map(|id| (place(&foreign[&id]), id)));
        }
        let maps: Vec<StateMap<OwnedEventId>> = maps.into_iter().map(Iterator::collect).collect();
        let chains: Vec<EventIdSet<OwnedEventId>> =
            maps.iter().map(|map| closure(&foreign, map.values().cloned().collect()).into_iter().collect()).collect();
        let resolved = resolve(
            &rules.authorization,
            resolution,
            &maps,
            chains,
            |id| foreign.get(id),
            |conflicted| {
                let ends: BTreeSet<OwnedEventId> = conflicted.values().flatten().cloned().collect();
                let leads_to_one =
                    |id: &OwnedEventId| !closure(&foreign, BTreeSet::from([id.clone()])).is_disjoint(&ends);
                Some(closure(&foreign, ends.clone()).into_iter().filter(leads_to_one).collect())
            },
        );
        let theirs: BTreeMap<_, _> =
            resolved.unwrap().into_iter().map(|((kind, key), id)| ((kind.to_string(), key), id)).collect();
        let ours: BTreeMap<_, _> =
            self.current_state().await.into_iter().map(|(place, pdu)| (place, pdu.event_id().to_owned())).collect();
        assert_eq!(ours, theirs, "the current state and that of ruma");
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
