//! Auth graphs to test with, and plain walks over them.

use std::collections::{BTreeMap, BTreeSet};

use homeserver_core::EventSn;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use crate::auth_chain::IndexedEvent;

pub(super) type Events = BTreeSet<EventSn>;

/// A graph in which each event has one of a few places in the state.
#[derive(Debug)]
pub(super) struct TestGraph {
    pub(super) events: BTreeMap<EventSn, TestEvent>,
}

#[derive(Debug)]
pub(super) struct TestEvent {
    place: u8,
    pub(super) auth_events: Vec<EventSn>,
}

impl TestGraph {
    pub(super) fn random(rng: &mut StdRng, size: usize) -> Self {
        let mut numbers: Vec<EventSn> = (1..=i64::try_from(size).unwrap()).map(EventSn).collect();
        numbers.shuffle(rng);
        let places = rng.random_range(1..=6);
        // How far back events look for their auth events: with a small window there are long chains.
        let window = rng.random_range(1..=size);
        let mut events = BTreeMap::new();
        for (index, sn) in numbers.iter().enumerate() {
            let earlier = &numbers[index.saturating_sub(window)..index];
            let count = rng.random_range(0..=4).min(earlier.len());
            let auth_events = (0..count).map(|_| earlier[rng.random_range(0..earlier.len())]).collect();
            events.insert(*sn, TestEvent { place: rng.random_range(0..places), auth_events });
        }
        Self { events }
    }

    /// The events as they are indexed, in some order in which each comes after its auth events.
    pub(super) fn in_random_order(&self, rng: &mut StdRng) -> Vec<IndexedEvent> {
        let mut rest: Vec<EventSn> = self.events.keys().copied().collect();
        rest.shuffle(rng);
        let mut done = Events::new();
        let mut order = Vec::new();
        while !rest.is_empty() {
            rest.retain(|sn| {
                let is_ready = self.events[sn].auth_events.iter().all(|auth_event| done.contains(auth_event));
                if is_ready {
                    done.insert(*sn);
                    order.push(self.indexed(*sn));
                }
                !is_ready
            });
        }
        order
    }

    fn indexed(&self, event_sn: EventSn) -> IndexedEvent {
        let event = &self.events[&event_sn];
        let replaces = event.auth_events.iter().find(|sn| self.events[*sn].place == event.place);
        IndexedEvent { event_sn, auth_events: event.auth_events.iter().copied().collect(), replaces: replaces.copied() }
    }

    /// The events themselves, and their auth chains.
    pub(super) fn closure(&self, events: &Events) -> Events {
        let mut found = events.clone();
        let mut queue: Vec<EventSn> = events.iter().copied().collect();
        while let Some(sn) = queue.pop() {
            for auth_event in &self.events[&sn].auth_events {
                if found.insert(*auth_event) {
                    queue.push(*auth_event);
                }
            }
        }
        found
    }

    /// What lies on a path from one of the events to one of them.
    pub(super) fn between(&self, ends: &Events) -> Events {
        let below = self.closure(ends);
        let leads_to_one = |sn: &EventSn| !self.closure(&Events::from([*sn])).is_disjoint(ends);
        below.into_iter().filter(leads_to_one).collect()
    }

    /// Up to one event for each place.
    pub(super) fn random_state(&self, rng: &mut StdRng) -> BTreeMap<u8, EventSn> {
        let mut state = BTreeMap::new();
        for _ in 0..rng.random_range(0..=8) {
            let index = rng.random_range(0..self.events.len());
            let (sn, event) = self.events.iter().nth(index).unwrap();
            state.insert(event.place, *sn);
        }
        state
    }

    pub(super) fn place(&self, sn: EventSn) -> u8 {
        self.events[&sn].place
    }
}

pub(super) fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}
