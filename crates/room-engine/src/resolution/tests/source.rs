//! A caller with a database.

use std::collections::BTreeSet;

use homeserver_core::EventSn;
use smallvec::SmallVec;

use super::room::{State, TestRoom};
use crate::{
    auth_chain::{ChainCover, IndexedEvent, tests::rows::Rows},
    resolution::{Conflict, Need, Resolution, ResolutionStep, StatePlace},
};

/// The rows of a room, and what of its states is in question.
pub(super) struct Source<'a> {
    room: &'a TestRoom,
    rows: Rows,
    pub(super) conflicts: Vec<Conflict>,
    pub(super) unconflicted: State,
}

/// What came out, and what it took.
pub(super) struct Resolved {
    pub(super) state: State,
    pub(super) rounds: usize,
    /// How many events are in the full conflicted set.
    pub(super) full_set: usize,
    /// How many places were asked for to find out what the state in common leads to.
    pub(super) counterparts: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(room: &'a TestRoom) -> Self {
        let mut rows = Rows::default();
        let indexed: Vec<IndexedEvent> = room.events.values().map(|event| indexed(room, event.sn)).collect();
        rows.add(&ChainCover::new().insert(&indexed).unwrap());
        let mut conflicts = Vec::new();
        let mut unconflicted = State::new();
        let keys: BTreeSet<&StatePlace> = room.forks.iter().flat_map(State::keys).collect();
        for key in keys {
            let events: SmallVec<[Option<EventSn>; 2]> = room.forks.iter().map(|fork| fork.get(key).copied()).collect();
            match events[0] {
                Some(first) if events.iter().all(|event| *event == events[0]) => {
                    unconflicted.insert(key.clone(), first);
                }
                _ => conflicts.push(Conflict { key: key.clone(), events }),
            }
        }
        Self { room, rows, conflicts, unconflicted }
    }

    pub(super) fn resolve(&self, conflicts: Vec<Conflict>) -> Resolved {
        let mut cover = ChainCover::new();
        let mut resolution = Resolution::new(self.room.version, self.room.create().clone(), conflicts).unwrap();
        let mut loaded = BTreeSet::new();
        let (mut rounds, mut counterparts) = (0, 0);
        let changes = loop {
            match resolution.step(&cover).unwrap() {
                ResolutionStep::Done(changes) => break changes,
                ResolutionStep::Load(need) => {
                    rounds += 1;
                    counterparts += need.counterparts.len();
                    for event in &need.events {
                        assert!(loaded.insert(*event), "no event is loaded twice");
                    }
                    self.load(&need, &mut cover, &mut resolution);
                }
            }
        };
        let mut state = self.unconflicted.clone();
        for change in changes {
            assert!(!self.unconflicted.contains_key(&change.key), "what all agree on stays");
            state.extend(change.event.map(|event| (change.key, event)));
        }
        Resolved { state, rounds, full_set: resolution.full_conflicted_set(), counterparts }
    }

    fn load(&self, need: &Need, cover: &mut ChainCover, resolution: &mut Resolution) {
        for event in &need.events {
            resolution.add_event(self.room.events[event].clone());
        }
        for range in &need.ranges {
            let events = self.rows.range(*range).into_iter().map(|sn| self.room.events[&sn].clone());
            resolution.add_range(*range, events);
        }
        for key in &need.state {
            resolution.add_state(key, self.unconflicted.get(key).copied());
        }
        for event in &need.counterparts {
            let counterpart = self.unconflicted.get(&key_of(self.room, *event)).copied();
            resolution.add_counterpart(*event, counterpart);
        }
        if !need.chains.is_empty() {
            self.rows.load(&need.chains, cover);
        }
    }
}

fn indexed(room: &TestRoom, sn: EventSn) -> IndexedEvent {
    let event = &room.events[&sn];
    let key = key_of(room, sn);
    let replaces = event.auth_events.iter().copied().find(|auth_event| key_of(room, *auth_event) == key);
    IndexedEvent { event_sn: sn, auth_events: event.auth_events.clone(), replaces }
}

pub(super) fn key_of(room: &TestRoom, sn: EventSn) -> StatePlace {
    let pdu = &room.events[&sn].pdu;
    StatePlace::new(pdu.event_type(), pdu.state_key().unwrap())
}
