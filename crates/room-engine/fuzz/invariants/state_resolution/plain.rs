//! The algorithms as the specification words them, without regard to what they cost.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use homeserver_core::EventSn;
use room_engine::{
    Membership, Pdu,
    auth::{PowerLevel, PowerLevels, StateLookup, auth_types_for_event, check},
    resolution::{Conflict, StatePlace},
};
use sha1::{Digest as _, Sha1};

use super::{
    room::{Room, State},
    source::conflicts,
};

/// The resolved state.
pub(super) fn resolve(room: &Room, forks: &[State]) -> State {
    let (conflicts, unconflicted) = conflicts(forks);
    match room.version.rules().state_res.v2_rules() {
        _ if conflicts.is_empty() => unconflicted,
        None => resolve_first_version(room, &conflicts, unconflicted),
        Some(rules) => {
            let members = full_conflicted_set(room, forks, &conflicts);
            let starts_empty = rules.begin_iterative_auth_checks_with_empty_state_map;
            let beginning = if starts_empty { State::new() } else { unconflicted.clone() };
            let mut state = resolve_later_version(room, members, beginning);
            state.extend(unconflicted);
            state
        }
    }
}

/// The conflicted events, the auth difference, and since version 12 what lies between conflicted events.
pub(super) fn full_conflicted_set(room: &Room, forks: &[State], conflicts: &[Conflict]) -> BTreeSet<EventSn> {
    let conflicted: BTreeSet<EventSn> =
        conflicts.iter().flat_map(|conflict| conflict.events.iter().flatten()).copied().collect();
    let mut members = room.difference(forks.iter().map(|fork| fork.values().copied()));
    let rules = room.version.rules().state_res.v2_rules();
    if rules.is_some_and(|rules| rules.consider_conflicted_state_subgraph) {
        members.extend(room.between(&conflicted));
    }
    members.extend(conflicted);
    members
}

fn resolve_later_version(room: &Room, members: BTreeSet<EventSn>, mut state: State) -> State {
    let mut chosen: BTreeSet<EventSn> =
        members.iter().copied().filter(|sn| is_power_event(&room.events[sn].pdu)).collect();
    let mut queue: Vec<EventSn> = chosen.iter().copied().collect();
    while let Some(sn) = queue.pop() {
        let auth_events = room.events[&sn].auth_events.iter();
        queue.extend(auth_events.filter(|auth_event| members.contains(auth_event) && chosen.insert(**auth_event)));
    }
    let mut rest: Vec<EventSn> = members.difference(&chosen).copied().collect();
    while let Some(next) = next_power_event(room, &chosen) {
        chosen.remove(&next);
        apply(room, next, &mut state);
    }
    let mainline = mainline(room, state.get(&StatePlace::new("m.room.power_levels", "")).copied());
    rest.sort_by_key(|sn| {
        let pdu = &room.events[sn].pdu;
        (Reverse(mainline_position(room, &mainline, *sn)), pdu.origin_server_ts(), pdu.event_id().to_owned())
    });
    rest.into_iter().for_each(|sn| apply(room, sn, &mut state));
    state
}

fn is_power_event(pdu: &Pdu) -> bool {
    match (pdu.event_type(), pdu.state_key()) {
        ("m.room.create" | "m.room.power_levels" | "m.room.join_rules", key) => key == Some(""),
        ("m.room.member", Some(key)) => {
            key != pdu.sender().as_str() && matches!(pdu.membership(), Some(Membership::Leave | Membership::Ban))
        }
        _ => false,
    }
}

/// Of the events without auth events among the rest, the first one.
fn next_power_event(room: &Room, rest: &BTreeSet<EventSn>) -> Option<EventSn> {
    let is_ready = |sn: &&EventSn| !room.events[sn].auth_events.iter().any(|auth_event| rest.contains(auth_event));
    let rank = |sn: &&EventSn| {
        let pdu = &room.events[sn].pdu;
        (Reverse(sender_level(room, **sn)), pdu.origin_server_ts(), pdu.event_id().to_owned())
    };
    rest.iter().filter(is_ready).min_by_key(rank).copied()
}

fn sender_level(room: &Room, sn: EventSn) -> PowerLevel {
    let power_levels = cited_power_levels(room, sn).map(|sn| &room.events[&sn].pdu);
    let levels = PowerLevels::new(room.create(), power_levels).or_else(|_| PowerLevels::new(room.create(), None));
    levels.map_or(PowerLevel::Finite(0), |levels| levels.user_level(room.events[&sn].pdu.sender()))
}

fn cited_power_levels(room: &Room, sn: EventSn) -> Option<EventSn> {
    let mut auth_events = room.events[&sn].auth_events.iter().copied();
    auth_events.find(|auth_event| room.events[auth_event].pdu.is_state("m.room.power_levels", ""))
}

fn mainline(room: &Room, power_levels: Option<EventSn>) -> Vec<EventSn> {
    std::iter::successors(power_levels, |sn| cited_power_levels(room, *sn)).collect()
}

fn mainline_position(room: &Room, mainline: &[EventSn], sn: EventSn) -> usize {
    let mut cited = std::iter::successors(cited_power_levels(room, sn), |sn| cited_power_levels(room, *sn));
    cited.find_map(|cited| mainline.iter().position(|sn| *sn == cited)).unwrap_or(usize::MAX)
}

/// The state that the event is checked against.
struct Before<'a> {
    room: &'a Room,
    state: &'a State,
    auth_events: BTreeMap<StatePlace, EventSn>,
}

impl StateLookup for Before<'_> {
    fn get(&self, event_type: &str, state_key: &str) -> Option<&Pdu> {
        let key = StatePlace::new(event_type, state_key);
        let counts = |sn: &&EventSn| !self.room.events[sn].rejected;
        let event = self.state.get(&key).filter(counts).or_else(|| self.auth_events.get(&key));
        event.map(|sn| &self.room.events[sn].pdu)
    }
}

fn apply(room: &Room, sn: EventSn, state: &mut State) {
    let Some(key) = room.key(sn) else { return };
    let event = &room.events[&sn];
    let mut auth_events = BTreeMap::new();
    if room.version.room_id_is_create_hash() {
        auth_events.insert(StatePlace::new("m.room.create", ""), room.order[0]);
    }
    let accepted = event.auth_events.iter().copied().filter(|auth_event| !room.events[auth_event].rejected);
    auth_events.extend(accepted.filter_map(|auth_event| Some((room.key(auth_event)?, auth_event))));
    let pdu = &event.pdu;
    let types = auth_types_for_event(pdu.version(), pdu.event_type(), pdu.sender(), pdu.state_key(), pdu.content());
    if types.is_ok() && check(pdu, &Before { room, state, auth_events }).is_ok() {
        state.insert(key, sn);
    }
}

struct Resolved<'a>(&'a Room, State);

impl StateLookup for Resolved<'_> {
    fn get(&self, event_type: &str, state_key: &str) -> Option<&Pdu> {
        self.1.get(&StatePlace::new(event_type, state_key)).map(|sn| &self.0.events[sn].pdu)
    }
}

impl Resolved<'_> {
    fn allows(&self, sn: EventSn) -> bool {
        check(&self.0.events[&sn].pdu, self).is_ok()
    }
}

fn resolve_first_version(room: &Room, conflicts: &[Conflict], unconflicted: State) -> State {
    const AUTH_TYPES: [&str; 3] = ["m.room.power_levels", "m.room.join_rules", "m.room.member"];
    let mut resolved = Resolved(room, unconflicted);
    let mut open = Vec::new();
    for Conflict { key, events } in conflicts {
        let mut events: Vec<EventSn> = events.iter().copied().flatten().collect();
        events.sort_by_key(|sn| {
            let pdu = &room.events[sn].pdu;
            (pdu.depth(), Reverse(Sha1::digest(pdu.event_id().as_str())))
        });
        events.dedup();
        match events.as_slice() {
            [only] => drop(resolved.1.insert(key.clone(), *only)),
            _ => open.push((key, events)),
        }
    }
    for event_type in AUTH_TYPES {
        let before = resolved.1.clone();
        for (key, events) in open.iter().filter(|(key, _)| &*key.event_type == event_type) {
            let mut state = Resolved(room, before.clone());
            state.1.insert((*key).clone(), events[0]);
            for sn in events.iter().skip(1) {
                if !state.allows(*sn) {
                    break;
                }
                state.1.insert((*key).clone(), *sn);
            }
            resolved.1.insert((*key).clone(), state.1[*key]);
        }
    }
    let before = Resolved(room, resolved.1.clone());
    for (key, events) in open.into_iter().filter(|(key, _)| !AUTH_TYPES.contains(&&*key.event_type)) {
        // What the specification leaves open: where none is allowed, it is the first.
        let winner = events.iter().rev().find(|sn| before.allows(**sn)).unwrap_or(&events[0]);
        resolved.1.insert(key.clone(), *winner);
    }
    resolved.1
}
