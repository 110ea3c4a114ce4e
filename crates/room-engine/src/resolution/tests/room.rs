//! Rooms with generated histories.

use std::{collections::BTreeMap, fmt::Write as _};

use homeserver_core::EventSn;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use ruma::{OwnedRoomId, RoomId};
use smallvec::SmallVec;

use super::actions::{Action, Levels};
use crate::{
    Pdu, RoomVersion,
    auth::{StateLookup, auth_types_for_event, check},
    resolution::{ResolutionEvent, StatePlace},
};

pub(super) const USERS: [&str; 6] =
    ["@creator:one", "@alice:one", "@bob:two", "@carol:two", "@dave:three", "@erin:three"];

pub(super) type State = BTreeMap<StatePlace, EventSn>;

/// A room with states to resolve.
pub(super) struct TestRoom {
    pub(super) version: RoomVersion,
    room_id: OwnedRoomId,
    pub(super) events: BTreeMap<EventSn, ResolutionEvent>,
    pub(super) levels: BTreeMap<EventSn, Levels>,
    pub(super) forks: Vec<State>,
    rng: StdRng,
}

/// An event that may become part of the room.
pub(super) struct Draft {
    pub(super) sender: &'static str,
    pub(super) event_type: &'static str,
    pub(super) state_key: String,
    pub(super) content: String,
    pub(super) levels: Option<Levels>,
}

struct StateIn<'a>(&'a TestRoom, &'a State);

impl StateLookup for StateIn<'_> {
    fn get(&self, event_type: &str, state_key: &str) -> Option<&Pdu> {
        self.1.get(&StatePlace::new(event_type, state_key)).map(|sn| &self.0.events[sn].pdu)
    }
}

impl TestRoom {
    /// A room in which about `steps` things happen on several branches.
    pub(super) fn random(version: RoomVersion, seed: u64, steps: usize) -> Self {
        let mut room = Self {
            version,
            room_id: RoomId::parse("!room:one").unwrap(),
            events: BTreeMap::new(),
            levels: BTreeMap::new(),
            forks: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
        };
        let mut branches = vec![room.beginning()];
        let mut earlier = branches.clone();
        for _ in 0..steps {
            let index = room.rng.random_range(0..branches.len());
            if room.rng.random_bool(0.12) && branches.len() < 5 {
                branches.push(earlier.choose(&mut room.rng).unwrap().clone());
            } else if room.rng.random_bool(0.08) {
                let other = branches.choose(&mut room.rng).unwrap().clone();
                branches[index] = room.mixed(&branches[index].clone(), &other);
            } else {
                room.act(&mut branches[index]);
            }
            if room.rng.random_bool(0.2) {
                earlier.push(branches[index].clone());
            }
        }
        if branches.len() == 1 {
            branches.push(earlier.choose(&mut room.rng).unwrap().clone());
        }
        branches.truncate(4);
        room.forks = branches;
        room
    }

    pub(super) fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    pub(super) fn create(&self) -> &Pdu {
        &self.events[&EventSn(1)].pdu
    }

    fn beginning(&mut self) -> State {
        let mut state = State::new();
        let creator = USERS[0];
        let field = if self.version < RoomVersion::V11 { format!(r#""creator":"{creator}","#) } else { String::new() };
        let version = self.version;
        self.must(&mut state, creator, "m.room.create", "", &format!(r#"{{{field}"room_version":"{version}"}}"#));
        if version.room_id_is_create_hash() {
            self.room_id = self.create().room_id().to_owned();
        }
        self.must(&mut state, creator, "m.room.member", creator, r#"{"membership":"join"}"#);
        let levels = Levels::first(self.version, &mut self.rng);
        let first = Action::levels(creator, levels);
        assert!(self.add(&mut state, first), "the first power levels are allowed");
        let rule = if self.rng.random_bool(0.8) { "public" } else { "invite" };
        self.must(&mut state, creator, "m.room.join_rules", "", &format!(r#"{{"join_rule":"{rule}"}}"#));
        for user in USERS.iter().skip(1).take(self.rng.random_range(1..=3)) {
            self.add(&mut state, Action::join(user, user, 0));
        }
        state
    }

    fn must(&mut self, state: &mut State, sender: &'static str, event_type: &'static str, key: &str, content: &str) {
        let draft = Draft { sender, event_type, state_key: key.to_owned(), content: content.to_owned(), levels: None };
        assert!(self.add(state, draft), "the beginning of a room is allowed: {event_type} {content}");
    }

    /// Tries a few things until one is allowed. A thing that is not allowed sometimes comes into the state all the same,
    /// as when another server gave a wrong state.
    fn act(&mut self, state: &mut State) {
        for _ in 0..4 {
            let draft = Action::random(self, state);
            // A room without join rules that count is closed here, and to ruma it is one in which nothing can be decided.
            let rejected = self.rng.random_bool(0.02) && draft.event_type != "m.room.join_rules";
            if self.add_as(state, draft, rejected) {
                return;
            }
        }
    }

    /// In each place, what one of two states has.
    fn mixed(&mut self, left: &State, right: &State) -> State {
        let keys: Vec<StatePlace> = left.keys().chain(right.keys()).cloned().collect();
        let mut mixed = State::new();
        for key in keys {
            let of = if self.rng.random_bool(0.5) { left } else { right };
            // Nobody takes the create event away.
            if let Some(sn) = of.get(&key) {
                mixed.insert(key, *sn);
            }
        }
        mixed
    }

    fn add(&mut self, state: &mut State, draft: Draft) -> bool {
        self.add_as(state, draft, false)
    }

    fn add_as(&mut self, state: &mut State, draft: Draft, even_if_refused: bool) -> bool {
        let sn = EventSn(i64::try_from(self.events.len()).unwrap() + 1);
        let pdu = self.pdu(sn, state, &draft);
        let allowed = check(&pdu, &StateIn(self, state)).is_ok();
        if !allowed && !even_if_refused {
            return false;
        }
        let by_id = |id: &ruma::OwnedEventId| number_of(id.as_str());
        let auth_events = pdu.auth_events().iter().map(by_id).collect();
        self.events.insert(sn, ResolutionEvent { sn, pdu, auth_events, rejected: !allowed });
        if let Some(levels) = draft.levels {
            self.levels.insert(sn, levels);
        }
        state.insert(StatePlace::new(draft.event_type, &draft.state_key), sn);
        true
    }

    fn pdu(&mut self, sn: EventSn, state: &State, draft: &Draft) -> Pdu {
        let Draft { sender, event_type, state_key, content, .. } = draft;
        let auth_events = self.selection(state, draft);
        let is_first = state.len() <= 1;
        let mut lists = [String::new(), String::new()];
        let previous: SmallVec<[EventSn; 5]> = if state.is_empty() {
            SmallVec::new()
        } else if is_first {
            SmallVec::from_slice(&[EventSn(1)])
        } else {
            SmallVec::from_slice(&[EventSn(1), EventSn(2)])
        };
        for (list, events) in lists.iter_mut().zip([&auth_events, &previous]) {
            for (index, event) in events.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let id = self.event_id(*event);
                if self.version < RoomVersion::V3 {
                    write!(list, r#"{comma}["{id}",{{"sha256":"h"}}]"#).unwrap();
                } else {
                    write!(list, r#"{comma}"{id}""#).unwrap();
                }
            }
        }
        let [auth_events, prev_events] = lists;
        // Few different times, so that some are equal, and sometimes a clock that is wrong.
        let error = if self.rng.random_bool(0.1) { 500 } else { 3 };
        let time = 1000 + sn.0 / 4 - self.rng.random_range(0..error);
        let depth = sn.0 - self.rng.random_range(0..3).min(sn.0);
        let id = self.event_id(sn);
        let client = format!(
            r#"{{"content":{content},"event_id":"{id}","origin_server_ts":{time},"sender":"{sender}","state_key":"{state_key}","type":"{event_type}"}}"#
        );
        let federation = format!(r#"{{"auth_events":[{auth_events}],"depth":{depth},"prev_events":[{prev_events}]}}"#);
        let room_id = match self.version.room_id_is_create_hash() {
            true => RoomId::parse(self.event_id(EventSn(1)).replace('$', "!")).unwrap(),
            false => self.room_id.clone(),
        };
        Pdu::from_stored(self.version, room_id, client.into(), federation.into()).unwrap()
    }

    fn selection(&self, state: &State, draft: &Draft) -> SmallVec<[EventSn; 5]> {
        let Draft { sender, event_type, state_key, content, .. } = draft;
        let sender = ruma::UserId::parse(*sender).unwrap();
        let content = crate::CanonicalObject::parse(content.as_bytes(), crate::Numbers::Lenient).unwrap();
        let types = auth_types_for_event(self.version, event_type, &sender, Some(state_key), &content);
        let types = types.unwrap_or_default();
        types.iter().filter_map(|(event_type, key)| state.get(&StatePlace::new(event_type, key))).copied().collect()
    }

    /// IDs whose order has nothing to do with that of the events.
    fn event_id(&self, sn: EventSn) -> String {
        let server = if self.version < RoomVersion::V3 { ":one" } else { "" };
        format!("${}z{}{server}", (sn.0 * 7919) % 101, sn.0)
    }
}

fn number_of(event_id: &str) -> EventSn {
    let digits = event_id.split('z').nth(1).unwrap().split(':').next().unwrap();
    EventSn(digits.parse().unwrap())
}
