//! The algorithm of room version 1 as the specification words it, without regard to its cost.

use std::{cmp::Reverse, collections::BTreeSet};

use homeserver_core::EventSn;
use sha1::{Digest as _, Sha1};

use super::room::{State, TestRoom};
use crate::{
    Pdu,
    auth::{StateLookup, check},
    resolution::StatePlace,
};

struct Resolved<'a>(&'a TestRoom, State);

impl StateLookup for Resolved<'_> {
    fn get(&self, event_type: &str, state_key: &str) -> Option<&Pdu> {
        self.1.get(&StatePlace::new(event_type, state_key)).map(|sn| &self.0.events[sn].pdu)
    }
}

impl Resolved<'_> {
    fn allows(&self, event: EventSn) -> bool {
        check(&self.0.events[&event].pdu, self).is_ok()
    }
}

pub(super) fn resolve(room: &TestRoom) -> State {
    let keys: BTreeSet<&StatePlace> = room.forks.iter().flat_map(State::keys).collect();
    let (conflicting, agreed): (Vec<_>, Vec<_>) =
        keys.into_iter().map(|key| (key, candidates(room, key))).partition(|(_, events)| events.len() > 1);
    let mut result = Resolved(room, agreed.into_iter().map(|(key, events)| (key.clone(), events[0])).collect());

    for event_type in ["m.room.power_levels", "m.room.join_rules", "m.room.member"] {
        // What one of several places of a type comes to does not depend on the others.
        let before = result.1.clone();
        for (key, events) in conflicting.iter().filter(|(key, _)| &*key.event_type == event_type) {
            let mut state = Resolved(room, before.clone());
            state.1.insert((*key).clone(), events[0]);
            for event in &events[1..] {
                if !state.allows(*event) {
                    break;
                }
                state.1.insert((*key).clone(), *event);
            }
            result.1.insert((*key).clone(), state.1[*key]);
        }
    }
    let auth_types = ["m.room.power_levels", "m.room.join_rules", "m.room.member"];
    let before = Resolved(room, result.1.clone());
    for (key, events) in conflicting.iter().filter(|(key, _)| !auth_types.contains(&&*key.event_type)) {
        // What the specification leaves open: where none is allowed, it is the first.
        let event = events.iter().rev().find(|event| before.allows(**event)).unwrap_or(&events[0]);
        result.1.insert((*key).clone(), *event);
    }
    result.1
}

/// The different events in a place by ascending depth, then descending hash.
fn candidates(room: &TestRoom, key: &StatePlace) -> Vec<EventSn> {
    let events: BTreeSet<EventSn> = room.forks.iter().filter_map(|fork| fork.get(key)).copied().collect();
    let mut events: Vec<EventSn> = events.into_iter().collect();
    events.sort_by_key(|sn| {
        let pdu = &room.events[sn].pdu;
        (pdu.depth(), Reverse(Sha1::digest(pdu.event_id().as_str())))
    });
    events
}
