//! The history of a large room.

use homeserver_core::EventSn;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use room_engine::{Pdu, RoomVersion, auth_chain::IndexedEvent, resolution::ResolutionEvent};
use ruma::RoomId;
use rustc_hash::FxHashMap;

const ADMINS: usize = 10;

/// A type, by number, and a state key, by number.
pub(crate) type Place = (usize, usize);
pub(crate) type State = FxHashMap<Place, EventSn>;

const TYPES: [&str; 6] = [
    "m.room.create",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.member",
    "m.room.topic",
    "org.example.widget",
];
const CREATE: usize = 0;
const POWER_LEVELS: usize = 1;
const JOIN_RULES: usize = 2;
const MEMBER: usize = 3;
const TOPIC: usize = 4;
const WIDGET: usize = 5;

/// A room, and pairs of states of it to be resolved.
pub(crate) struct History {
    pub(crate) version: RoomVersion,
    /// The event with number `n` is at `n - 1`.
    pub(crate) events: Vec<ResolutionEvent>,
    places: Vec<Place>,
    pub(crate) large: [State; 2],
    pub(crate) small: [State; 2],
    rng: StdRng,
    users: usize,
}

impl History {
    pub(crate) fn new(version: RoomVersion, events: usize, conflicted: usize) -> Self {
        let mut history = Self {
            version,
            events: Vec::new(),
            places: Vec::new(),
            large: Default::default(),
            small: Default::default(),
            rng: StdRng::seed_from_u64(1),
            users: events * 2 / 5,
        };
        let mut state = history.beginning();
        while history.events.len() < events - conflicted {
            if history.events.len().is_multiple_of(events / 200) {
                history.change_power_levels(&mut state);
            } else {
                history.come_or_go(&mut state);
            }
        }
        let mut small = [state.clone(), state.clone()];
        history.branch(&mut small, 5);
        history.small = small;
        let mut large = [state.clone(), state];
        history.branch(&mut large, conflicted);
        history.large = large;
        history
    }

    /// Lets things happen on both branches until there are so many conflicted events.
    fn branch(&mut self, forks: &mut [State; 2], conflicted: usize) {
        let mut before = self.events.len();
        let mut count = 0;
        while count < conflicted {
            for fork in forks.iter_mut() {
                match self.rng.random_range(0..20) {
                    0..=11 => self.come_or_go(fork),
                    12..=15 => self.add(fork, 0, (WIDGET, before % 1000), r#"{"url":"https://widget.example.org"}"#),
                    16 => self.add(fork, 1 + before % ADMINS, (TOPIC, 0), r#"{"topic":"about something else"}"#),
                    17 if conflicted > 100 && before.is_multiple_of(16) => self.change_power_levels(fork),
                    _ => self.remove(fork),
                }
            }
            if self.events.len() - before > conflicted / 50 {
                before = self.events.len();
                count = self.count(forks);
            }
        }
    }

    fn count(&self, [left, right]: &[State; 2]) -> usize {
        let differs = left.iter().filter(|(place, sn)| right.get(place) != Some(sn)).count();
        differs + right.iter().filter(|(place, sn)| left.get(place) != Some(sn)).count()
    }

    /// What the index takes.
    pub(crate) fn indexed(&self) -> Vec<IndexedEvent> {
        let indexed = |event: &ResolutionEvent| {
            let place = self.place(event.sn);
            IndexedEvent {
                event_sn: event.sn,
                auth_events: event.auth_events.clone(),
                replaces: event.auth_events.iter().copied().find(|sn| self.place(*sn) == place),
            }
        };
        self.events.iter().map(indexed).collect()
    }

    pub(crate) fn event(&self, sn: EventSn) -> &ResolutionEvent {
        &self.events[index(sn)]
    }

    pub(crate) fn place(&self, sn: EventSn) -> Place {
        self.places[index(sn)]
    }

    pub(crate) fn text(&self, (event_type, key): Place) -> (&'static str, String) {
        (TYPES[event_type], key_text(event_type, key))
    }

    fn beginning(&mut self) -> State {
        let mut state = State::default();
        let version = self.version;
        self.add(&mut state, 0, (CREATE, 0), &format!(r#"{{"room_version":"{version}"}}"#));
        self.add(&mut state, 0, (MEMBER, 0), r#"{"membership":"join"}"#);
        self.change_power_levels(&mut state);
        self.add(&mut state, 0, (JOIN_RULES, 0), r#"{"join_rule":"public"}"#);
        for admin in 1..=ADMINS {
            self.add(&mut state, admin, (MEMBER, admin), r#"{"membership":"join"}"#);
        }
        state
    }

    fn change_power_levels(&mut self, state: &mut State) {
        let creator = if self.version < RoomVersion::V12 { r#""@user0:example.org":100,"# } else { "" };
        let admins: Vec<String> = (1..=ADMINS).map(|admin| format!(r#""@user{admin}:example.org":90"#)).collect();
        let content =
            format!(r#"{{"invite":{},"users":{{{creator}{}}}}}"#, self.rng.random_range(0..50), admins.join(","));
        let sender = if state.contains_key(&(POWER_LEVELS, 0)) { self.rng.random_range(0..=ADMINS) } else { 0 };
        self.add(state, sender, (POWER_LEVELS, 0), &content);
    }

    /// Someone joins, changes their name or leaves.
    fn come_or_go(&mut self, state: &mut State) {
        let user = self.rng.random_range(ADMINS + 1..self.users);
        let is_in = self.is_in(state, user);
        let content = match self.rng.random_bool(0.3) && is_in {
            true => r#"{"membership":"leave"}"#,
            false => r#"{"displayname":"Somebody","membership":"join"}"#,
        };
        self.add(state, user, (MEMBER, user), content);
    }

    fn remove(&mut self, state: &mut State) {
        let user = self.rng.random_range(ADMINS + 1..self.users);
        if self.is_in(state, user) {
            self.add(state, 1 + user % ADMINS, (MEMBER, user), r#"{"membership":"leave","reason":"rules"}"#);
        }
    }

    fn is_in(&self, state: &State, user: usize) -> bool {
        let member = state.get(&(MEMBER, user)).map(|sn| &self.event(*sn).pdu);
        member.is_some_and(|pdu| pdu.content().as_bytes().ends_with(br#""join"}"#))
    }

    fn add(&mut self, state: &mut State, sender: usize, place: Place, content: &str) {
        let sn = EventSn(i64::try_from(self.events.len()).unwrap() + 1);
        let mut places = vec![(CREATE, 0), (POWER_LEVELS, 0), (MEMBER, sender)];
        if self.version == RoomVersion::V12 {
            places.remove(0);
        }
        if place.0 == MEMBER {
            places.push(place);
            if content.contains("join") {
                places.push((JOIN_RULES, 0));
            }
        }
        places.sort_unstable();
        places.dedup();
        let auth_events = places.iter().filter(|_| place.0 != CREATE).filter_map(|place| state.get(place)).copied();
        let event = self.event_of(sn, sender, place, content, auth_events.collect());
        self.events.push(event);
        self.places.push(place);
        state.insert(place, sn);
    }

    fn event_of(
        &self,
        sn: EventSn,
        sender: usize,
        place: Place,
        content: &str,
        auth_events: Vec<EventSn>,
    ) -> ResolutionEvent {
        let (event_type, state_key) = self.text(place);
        let ids: Vec<String> = auth_events.iter().map(|sn| format!(r#""{}""#, event_id(*sn))).collect();
        let previous = if sn.0 == 1 { String::new() } else { format!(r#""{}""#, event_id(EventSn(sn.0 - 1))) };
        let client = format!(
            r#"{{"content":{content},"event_id":"{}","origin_server_ts":{},"sender":"@user{sender}:example.org","state_key":"{state_key}","type":"{event_type}"}}"#,
            event_id(sn),
            1_700_000_000_000 + sn.0 / 2,
        );
        let federation =
            format!(r#"{{"auth_events":[{}],"depth":{},"prev_events":[{previous}]}}"#, ids.join(","), sn.0,);
        let room_id = match self.version {
            RoomVersion::V12 => RoomId::parse(event_id(EventSn(1)).replace('$', "!")),
            _ => RoomId::parse("!room:example.org"),
        };
        let pdu = Pdu::from_stored(self.version, room_id.unwrap(), client.into(), federation.into()).unwrap();
        ResolutionEvent { sn, pdu, auth_events: auth_events.into_iter().collect(), rejected: false }
    }
}

fn index(sn: EventSn) -> usize {
    usize::try_from(sn.0 - 1).unwrap()
}

fn key_text(event_type: usize, key: usize) -> String {
    match event_type {
        MEMBER => format!("@user{key}:example.org"),
        WIDGET => format!("{key}"),
        _ => String::new(),
    }
}

/// As long as the real ones.
fn event_id(sn: EventSn) -> String {
    format!("${:043}", sn.0)
}
