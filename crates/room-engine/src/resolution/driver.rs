//! The steps of a resolution.

use homeserver_core::EventSn;
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    Change, Conflict, Need, ResolutionError, ResolutionEvent, StatePlace,
    auth_checks::{AuthChecks, auth_types},
    full_set::FullSetSearch,
    mainline::Mainline,
    power_order::power_events_in_order,
    records::Records,
    table::StateTable,
    v1,
};
use crate::{
    Pdu, RoomVersion,
    auth_chain::{Chain, ChainCover, ChainRange, Counterparts},
};

/// A running resolution of states of a room.
pub struct Resolution {
    version: RoomVersion,
    create: Pdu,
    conflicts: Vec<Conflict>,
    conflicted_keys: StateTable<()>,
    records: Records,
    counterparts: Counterparts,
    /// The requested ranges that were not added yet.
    ranges: FxHashSet<ChainRange>,
    members: FxHashSet<EventSn>,
    stage: Stage,
    asked: Need,
}

/// The outcome of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolutionStep {
    /// The caller must load these first.
    Load(Need),
    /// The resolved conflicts, in the order of type and state key.
    Done(Vec<Change>),
}

enum Stage {
    FirstVersion,
    /// Finding the full conflicted set.
    FullSet(FullSetSearch),
    /// Loading its events.
    Members,
    /// Loading the state that they are checked against.
    Surroundings,
    /// Ordering the other events after the power events.
    Mainline {
        resolved: StateTable<EventSn>,
        remaining: Vec<EventSn>,
    },
    /// Finding the places outside of the conflicts that were filled.
    Places(StateTable<EventSn>),
}

/// Whether a stage led to the next one or to the end.
enum Advance {
    To(Stage),
    End(Vec<Change>),
}

impl Resolution {
    /// Begins a resolution.
    ///
    /// `create` is the create event of the room. The conflicts are all places in which the states differ, including the
    /// places in which some states have no event.
    ///
    /// # Errors
    /// When the conflicts do not all name the same number of states.
    pub fn new(version: RoomVersion, create: Pdu, conflicts: Vec<Conflict>) -> Result<Self, ResolutionError> {
        let expected = conflicts.first().map_or(0, |conflict| conflict.events.len());
        if let Some(other) = conflicts.iter().find(|conflict| conflict.events.len() != expected) {
            return Err(ResolutionError::UnequalForks { expected, found: other.events.len() });
        }
        let mut conflicted_keys = StateTable::new();
        for Conflict { key, .. } in &conflicts {
            conflicted_keys.insert(&key.event_type, &key.state_key, ());
        }
        let stage = match version.rules().state_res.v2_rules() {
            None => Stage::FirstVersion,
            Some(rules) => Stage::FullSet(FullSetSearch::new(&conflicts, rules.consider_conflicted_state_subgraph)),
        };
        Ok(Self {
            version,
            create,
            conflicts,
            conflicted_keys,
            records: Records::new(),
            counterparts: FxHashMap::default(),
            ranges: FxHashSet::default(),
            members: FxHashSet::default(),
            stage,
            asked: Need::default(),
        })
    }

    /// Adds an event, before or after it was requested.
    pub fn add_event(&mut self, event: ResolutionEvent) {
        self.records.add_event(event);
    }

    /// Adds the events of a requested range.
    pub fn add_range(&mut self, range: ChainRange, events: impl IntoIterator<Item = ResolutionEvent>) {
        if self.ranges.remove(&range) {
            for event in events {
                self.members.insert(event.sn);
                self.records.add_event(event);
            }
        }
    }

    /// Adds the event of the unconflicted state at a place; `None` if there is none or the place is conflicted.
    pub fn add_state(&mut self, key: &StatePlace, event: Option<EventSn>) {
        self.records.add_state(&key.event_type, &key.state_key, event);
    }

    /// Adds the event of the unconflicted state at the type and state key of `event`; `None` if there is none or the place is
    /// conflicted.
    pub fn add_counterpart(&mut self, event: EventSn, counterpart: Option<EventSn>) {
        self.counterparts.insert(Chain(event), counterpart);
    }

    /// The number of loaded events.
    pub fn events(&self) -> usize {
        self.records.len()
    }

    /// The number of events in the full conflicted set so far.
    pub fn full_conflicted_set(&self) -> usize {
        self.members.len()
    }

    /// Continues until the caller must load something or everything is resolved. After the end it does nothing.
    ///
    /// # Errors
    /// When the events that the last step requested were not added.
    pub fn step(&mut self, cover: &ChainCover) -> Result<ResolutionStep, ResolutionError> {
        loop {
            match self.advance(cover) {
                Ok(Advance::To(stage)) => self.stage = stage,
                Ok(Advance::End(changes)) => return Ok(ResolutionStep::Done(changes)),
                Err(mut need) => {
                    need.tidy();
                    if *need == self.asked {
                        return Err(ResolutionError::Unanswered(need));
                    }
                    self.asked.clone_from(&need);
                    return Ok(ResolutionStep::Load(*need));
                }
            }
        }
    }

    fn advance(&mut self, cover: &ChainCover) -> Result<Advance, Box<Need>> {
        match &self.stage {
            Stage::FirstVersion => v1::resolve(&self.records, &self.conflicts).map(Advance::End),
            Stage::FullSet(_) => self.find_full_set(cover),
            Stage::Members => {
                let mut need = Need { ranges: self.ranges.iter().copied().collect(), ..Need::default() };
                need.ranges.sort_unstable();
                self.records.need_events(&mut need, self.members.iter().copied());
                or_need(need, Stage::Surroundings)
            }
            Stage::Surroundings => self.resolve_power_events(),
            Stage::Mainline { resolved, remaining } => {
                let power_levels = resolved.get("m.room.power_levels", "").copied().or_else(|| {
                    let unconflicted = self.records.unconflicted("m.room.power_levels", "").flatten();
                    unconflicted.filter(|_| !starts_empty(self.version))
                });
                let order = Mainline::new(cover, power_levels)?.sort(&self.records, remaining)?;
                let mut resolved = resolved.clone();
                self.auth_checks().apply(&order, &mut resolved);
                Ok(Advance::To(Stage::Places(resolved)))
            }
            Stage::Places(resolved) => {
                let mut need = Need::default();
                for (event_type, state_key, _) in resolved.iter() {
                    if !self.conflicted_keys.contains(event_type, state_key) {
                        self.records.need_state(&mut need, event_type, state_key);
                    }
                }
                if need.is_empty() { Ok(Advance::End(self.changes(resolved))) } else { Err(Box::new(need)) }
            }
        }
    }

    /// The conflicted events are requested along with the first part of the index.
    fn find_full_set(&mut self, cover: &ChainCover) -> Result<Advance, Box<Need>> {
        let Stage::FullSet(search) = &mut self.stage else { return Ok(Advance::To(Stage::Members)) };
        let found = search.run(cover, &self.counterparts);
        self.members.extend(search.conflicted().iter().copied());
        match found {
            Ok(ranges) => {
                self.ranges.extend(ranges);
                Ok(Advance::To(Stage::Members))
            }
            Err(mut need) => {
                self.records.need_events(&mut need, self.members.iter().copied());
                Err(need)
            }
        }
    }

    fn resolve_power_events(&self) -> Result<Advance, Box<Need>> {
        let need = self.need_surroundings();
        if !need.is_empty() {
            return Err(Box::new(need));
        }
        let (order, chosen) = power_events_in_order(&self.records, &self.create, &self.members);
        let mut resolved = StateTable::new();
        self.auth_checks().apply(&order, &mut resolved);
        let remaining = self.members.difference(&chosen).copied().collect();
        Ok(Advance::To(Stage::Mainline { resolved, remaining }))
    }

    /// The auth events of all members, and the state that they are checked against.
    fn need_surroundings(&self) -> Need {
        let mut need = Need::default();
        // Create events are checked against nothing, but are ordered by the mainline as all others.
        let has_mainline = !starts_empty(self.version) && !self.members.is_empty();
        if has_mainline && !self.conflicted_keys.contains("m.room.power_levels", "") {
            self.records.need_state(&mut need, "m.room.power_levels", "");
        }
        for event in self.members.iter().filter_map(|sn| self.records.event(*sn)) {
            self.records.need_events(&mut need, event.auth_events.iter().copied());
            if starts_empty(self.version) {
                continue;
            }
            for (event_type, state_key) in auth_types(&event.pdu).unwrap_or_default() {
                if !self.conflicted_keys.contains(event_type, &state_key) {
                    self.records.need_auth_state(&mut need, event_type, &state_key);
                }
            }
            if let Some(state_key) = event.pdu.state_key()
                && !self.conflicted_keys.contains(event.pdu.event_type(), state_key)
            {
                self.records.need_state(&mut need, event.pdu.event_type(), state_key);
            }
        }
        need
    }

    fn auth_checks(&self) -> AuthChecks<'_> {
        AuthChecks {
            records: &self.records,
            with_unconflicted: !starts_empty(self.version),
            create: self.version.room_id_is_create_hash().then_some(&self.create),
        }
    }

    fn changes(&self, resolved: &StateTable<EventSn>) -> Vec<Change> {
        let added = resolved.keys().filter(|StatePlace { event_type, state_key }| {
            let is_free = self.records.unconflicted(event_type, state_key).flatten().is_none();
            is_free && !self.conflicted_keys.contains(event_type, state_key)
        });
        let keys = self.conflicts.iter().map(|conflict| conflict.key.clone()).chain(added);
        let winner = |key: &StatePlace| resolved.get(&key.event_type, &key.state_key).copied();
        let mut changes: Vec<Change> = keys.map(|key| Change { event: winner(&key), key }).collect();
        changes.sort_unstable();
        changes
    }
}

/// Whether the auth checks start from the empty state, as since version 12.
fn starts_empty(version: RoomVersion) -> bool {
    let rules = version.rules().state_res.v2_rules();
    rules.is_some_and(|rules| rules.begin_iterative_auth_checks_with_empty_state_map)
}

fn or_need(need: Need, stage: Stage) -> Result<Advance, Box<Need>> {
    if need.is_empty() { Ok(Advance::To(stage)) } else { Err(Box::new(need)) }
}
