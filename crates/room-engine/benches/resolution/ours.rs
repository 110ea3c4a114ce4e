//! The room as this crate resolves it.

use std::{collections::BTreeMap, fmt};

use homeserver_core::EventSn;
use room_engine::{
    auth_chain::{ChainCover, ChainPosition, ChainRange},
    resolution::{Conflict, Need, Resolution, ResolutionStep, StatePlace},
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::history::{History, Place, State};

/// A room with its index and the texts of its state keys.
pub(crate) struct Ours<'a> {
    history: &'a History,
    cover: ChainCover,
    by_position: FxHashMap<ChainPosition, EventSn>,
    places: FxHashMap<StatePlace, Place>,
}

/// What came out, and what it took.
pub(crate) struct Resolved {
    /// The winners of the places that were changed.
    pub(crate) state: BTreeMap<StatePlace, Option<EventSn>>,
    conflicted: usize,
    full_set: usize,
    events: usize,
    rounds: usize,
}

impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { conflicted, full_set, events, rounds, .. } = self;
        write!(
            f,
            "{conflicted} conflicted events, {full_set} in the full conflicted set, {events} loaded in {rounds} rounds"
        )
    }
}

impl<'a> Ours<'a> {
    pub(crate) fn new(history: &'a History) -> Self {
        let mut cover = ChainCover::new();
        let rows = cover.insert(&history.indexed()).unwrap();
        let by_position = rows.events.iter().map(|row| (row.position, row.event_sn)).collect();
        let places = history.events.iter().map(|event| {
            let place = history.place(event.sn);
            let (event_type, state_key) = history.text(place);
            (StatePlace::new(event_type, &state_key), place)
        });
        Self { history, cover, by_position, places: places.collect() }
    }

    /// From differences to what becomes of them.
    pub(crate) fn resolve(&self, forks: &[State; 2], conflicts: Vec<Conflict>) -> Resolved {
        let conflicted: FxHashSet<EventSn> =
            conflicts.iter().flat_map(|conflict| conflict.events.iter().flatten()).copied().collect();
        let create = self.history.event(EventSn(1)).pdu.clone();
        let mut resolution = Resolution::new(self.history.version, create, conflicts).unwrap();
        let mut rounds = 0;
        loop {
            match resolution.step(&self.cover).unwrap() {
                ResolutionStep::Done(changes) => {
                    return Resolved {
                        state: changes.into_iter().map(|change| (change.key, change.event)).collect(),
                        conflicted: conflicted.len(),
                        full_set: resolution.full_conflicted_set(),
                        events: resolution.events(),
                        rounds,
                    };
                }
                ResolutionStep::Load(need) => {
                    rounds += 1;
                    self.load(&need, forks, &mut resolution);
                }
            }
        }
    }

    /// The differences, found by comparing whole states.
    pub(crate) fn conflicts(&self, [left, right]: &[State; 2]) -> Vec<Conflict> {
        let of_left = left.iter().map(|(place, sn)| (place, Some(*sn), right.get(place).copied()));
        let only_right = right.iter().filter(|(place, _)| !left.contains_key(place));
        let all = of_left.chain(only_right.map(|(place, sn)| (place, None, Some(*sn))));
        let conflict = |(place, left, right): (&Place, Option<EventSn>, Option<EventSn>)| {
            let (event_type, state_key) = self.history.text(*place);
            Conflict { key: StatePlace::new(event_type, &state_key), events: [left, right].into_iter().collect() }
        };
        all.filter(|(_, left, right)| left != right).map(conflict).collect()
    }

    fn load(&self, need: &Need, forks: &[State; 2], resolution: &mut Resolution) {
        assert!(need.chains.is_empty(), "the index is in memory");
        for event in &need.events {
            resolution.add_event(self.history.event(*event).clone());
        }
        for range in &need.ranges {
            let ChainRange { chain, first, last } = *range;
            let events = (first..=last).map(|seq| self.by_position[&ChainPosition { chain, seq }]);
            resolution.add_range(*range, events.map(|sn| self.history.event(sn).clone()));
        }
        for key in &need.state {
            resolution.add_state(key, self.places.get(key).and_then(|place| unconflicted(forks, *place)));
        }
        for event in &need.counterparts {
            resolution.add_counterpart(*event, unconflicted(forks, self.history.place(*event)));
        }
    }
}

fn unconflicted([left, right]: &[State; 2], place: Place) -> Option<EventSn> {
    left.get(&place).filter(|sn| right.get(&place) == Some(sn)).copied()
}
