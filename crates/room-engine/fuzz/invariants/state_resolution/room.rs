//! Bytes as the history of a room.

use std::collections::{BTreeMap, BTreeSet};

use homeserver_core::EventSn;
use room_engine::{
    Pdu, RoomVersion,
    auth::{StateLookup, auth_types_for_event, check},
    resolution::{ResolutionEvent, StatePlace},
};

use super::events::{Draft, USERS, power_levels};
use crate::choices::Choices;

const MAX_EVENTS: usize = 48;
const MAX_FORKS: usize = 4;

pub(super) type State = BTreeMap<StatePlace, EventSn>;

/// A room, and some states of it.
pub(super) struct Room {
    pub(super) version: RoomVersion,
    pub(super) events: BTreeMap<EventSn, ResolutionEvent>,
    /// The events, each after its auth events.
    pub(super) order: Vec<EventSn>,
    pub(super) forks: Vec<State>,
    /// How many events are indexed at a time.
    pub(super) batch: usize,
    /// Whether contents and auth events are such as a server makes them.
    pub(super) is_tame: bool,
    numbering: usize,
}

struct StateIn<'a>(&'a Room, &'a State);

impl StateLookup for StateIn<'_> {
    fn get(&self, event_type: &str, state_key: &str) -> Option<&Pdu> {
        self.1.get(&StatePlace::new(event_type, state_key)).map(|sn| &self.0.events[sn].pdu)
    }
}

impl Room {
    /// The room that `input` describes. No input describes none.
    pub(super) fn decode(input: &[u8]) -> Self {
        let mut choices = Choices::new(input);
        let version = choices.pick(&RoomVersion::ALL);
        let mut room = Self {
            version,
            events: BTreeMap::new(),
            order: Vec::new(),
            forks: vec![State::new()],
            batch: 1 + choices.below(MAX_EVENTS),
            is_tame: choices.below(2) == 0,
            numbering: choices.below(3),
        };
        room.begin(&mut choices);
        while !choices.is_empty() && room.order.len() < MAX_EVENTS {
            room.go_on(&mut choices);
        }
        room
    }

    pub(super) fn create(&self) -> &Pdu {
        &self.events[&self.order[0]].pdu
    }

    /// The place of an event in the state, unless it is no state event.
    pub(super) fn key(&self, sn: EventSn) -> Option<StatePlace> {
        let pdu = &self.events[&sn].pdu;
        Some(StatePlace::new(pdu.event_type(), pdu.state_key()?))
    }

    /// The events themselves, and their auth chains.
    pub(super) fn closure(&self, events: impl IntoIterator<Item = EventSn>) -> BTreeSet<EventSn> {
        let mut queue: Vec<EventSn> = events.into_iter().collect();
        let mut found: BTreeSet<EventSn> = queue.iter().copied().collect();
        while let Some(sn) = queue.pop() {
            queue.extend(self.events[&sn].auth_events.iter().filter(|auth_event| found.insert(**auth_event)));
        }
        found
    }

    /// What is in the auth chain of some set and not of all.
    pub(super) fn difference<S: IntoIterator<Item = EventSn>>(
        &self,
        sets: impl IntoIterator<Item = S>,
    ) -> BTreeSet<EventSn> {
        let chains: Vec<BTreeSet<EventSn>> = sets.into_iter().map(|set| self.closure(set)).collect();
        let is_in_all = |sn: &EventSn| chains.iter().all(|chain| chain.contains(sn));
        chains.iter().flatten().filter(|sn| !is_in_all(sn)).copied().collect()
    }

    /// What lies on a path from one of the events to one of them.
    pub(super) fn between(&self, ends: &BTreeSet<EventSn>) -> BTreeSet<EventSn> {
        let leads_to_one = |sn: &EventSn| !self.closure([*sn]).is_disjoint(ends);
        self.closure(ends.iter().copied()).into_iter().filter(leads_to_one).collect()
    }

    /// The first events. Each but the create event may be missing.
    fn begin(&mut self, choices: &mut Choices<'_>) {
        let missing = Some(choices.byte()).filter(|missing| missing % 4 == 3).unwrap_or(0);
        let creator = USERS[0];
        let drafts = [
            Draft::create(self, choices),
            Draft::join(creator, creator),
            Draft::state(creator, "m.room.power_levels", "", power_levels(self, &State::new(), 0, choices)),
            Draft::join_rules(creator, "public"),
            Draft::join(USERS[1], USERS[1]),
            Draft::join(USERS[2], USERS[2]),
        ];
        for (index, draft) in drafts.into_iter().enumerate() {
            if index == 0 || missing & (1 << index) == 0 {
                let auth_events = self.selection(&self.forks[0], &draft);
                let sn = self.add(&draft, &auth_events, 0);
                let key = StatePlace::new(draft.event_type, draft.state_key.as_deref().unwrap_or_default());
                self.forks[0].insert(key, sn);
            }
        }
    }

    fn go_on(&mut self, choices: &mut Choices<'_>) {
        let question = choices.byte();
        let fork = usize::from(question >> 6) % self.forks.len();
        match question & 0x3f {
            0..=3 if self.forks.len() < MAX_FORKS => self.forks.push(self.forks[fork].clone()),
            0..=7 => self.mix(fork, choices),
            8 => {
                let place = choices.below(self.forks[fork].len().max(1));
                if let Some(key) = self.forks[fork].keys().nth(place).cloned() {
                    self.forks[fork].remove(&key);
                }
            }
            question => self.act(fork, usize::from(question - 9), choices),
        }
    }

    /// Gives the fork, in some places, what another one has.
    fn mix(&mut self, fork: usize, choices: &mut Choices<'_>) {
        let other = self.forks[choices.below(self.forks.len())].clone();
        let mask = choices.byte();
        for (index, (key, sn)) in other.into_iter().enumerate() {
            if mask & (1 << (index % 8)) != 0 {
                self.forks[fork].insert(key, sn);
            }
        }
    }

    fn act(&mut self, fork: usize, kind: usize, choices: &mut Choices<'_>) {
        let draft = Draft::decode(self, &self.forks[fork], kind, choices);
        let auth_events = self.auth_events(fork, &draft, choices);
        let status = choices.byte();
        let time = i64::from(status & 0x0f);
        let sn = self.add(&draft, &auth_events, time);
        let is_good = check(&self.events[&sn].pdu, &StateIn(self, &self.forks[fork])).is_ok()
            && !auth_events.iter().any(|auth_event| self.events[auth_event].rejected);
        let rejected = match status >> 4 & 0b11 {
            0 | 1 => !is_good,
            2 => true,
            _ => false,
        };
        if let Some(event) = self.events.get_mut(&sn) {
            event.rejected = rejected;
        }
        // Others may have refused events in their state, and events that nobody has in theirs.
        let enters = if is_good { status < 0xe0 } else { status & 0x40 != 0 };
        if let Some(key) = self.key(sn).filter(|_| enters) {
            self.forks[fork].insert(key, sn);
        }
    }

    /// A byte, which is below `ordinary` in a tame room.
    pub(super) fn detail(&self, ordinary: u8, choices: &mut Choices<'_>) -> u8 {
        let detail = choices.byte();
        if self.is_tame { detail % ordinary } else { detail }
    }

    /// Those that the event needs, sometimes but for one, or with one more, and sometimes any.
    fn auth_events(&self, fork: usize, draft: &Draft, choices: &mut Choices<'_>) -> Vec<EventSn> {
        let mut auth_events = self.selection(&self.forks[fork], draft);
        let any = |choices: &mut Choices<'_>| self.order[choices.below(self.order.len())];
        match self.detail(200, choices) {
            0..=179 => {}
            180..=199 => auth_events.reverse(),
            200..=214 if !auth_events.is_empty() => drop(auth_events.remove(choices.below(auth_events.len()))),
            215..=229 => auth_events.push(any(choices)),
            230..=239 => auth_events.insert(0, any(choices)),
            _ => auth_events = (0..choices.below(6)).map(|_| any(choices)).collect(),
        }
        auth_events
    }

    fn selection(&self, state: &State, draft: &Draft) -> Vec<EventSn> {
        let sender = ruma::UserId::parse(draft.sender).expect("senders are user IDs");
        let content = draft.content();
        let key = draft.state_key.as_deref();
        let types = auth_types_for_event(self.version, draft.event_type, &sender, key, &content).unwrap_or_default();
        types.iter().filter_map(|(event_type, key)| state.get(&StatePlace::new(event_type, key))).copied().collect()
    }

    fn add(&mut self, draft: &Draft, auth_events: &[EventSn], earlier_ms: i64) -> EventSn {
        let index = self.order.len();
        let sn = self.number(index);
        let id = event_id(self.version, index);
        let ids: Vec<String> = auth_events.iter().map(|sn| self.events[sn].pdu.event_id().to_string()).collect();
        let previous: Vec<String> = match draft.event_type {
            "m.room.create" => Vec::new(),
            // The creator's first join is the only event that follows the create event alone.
            _ => (0..index.min(2)).map(|index| event_id(self.version, index)).collect(),
        };
        // Some are of the same time, and some of the same depth.
        let (time, depth) = (1000 + index as i64 / 4 - earlier_ms, index as i64 / 2);
        let pdu = draft.pdu(self.version, &id, [&ids, &previous], time, depth);
        self.events.insert(
            sn,
            ResolutionEvent { sn, pdu, auth_events: auth_events.iter().copied().collect(), rejected: false },
        );
        self.order.push(sn);
        sn
    }

    /// Numbers that say of the order of the events all, the opposite, or nothing.
    fn number(&self, index: usize) -> EventSn {
        let index = index as i64;
        EventSn(match self.numbering {
            0 => index + 1,
            1 => -index,
            _ => index * 29 % 53,
        })
    }
}

/// IDs whose order has nothing to do with that of the events.
pub(super) fn event_id(version: RoomVersion, index: usize) -> String {
    let server = if version < RoomVersion::V3 { ":one" } else { "" };
    format!("${}z{index}{server}", index * 7919 % 101)
}
