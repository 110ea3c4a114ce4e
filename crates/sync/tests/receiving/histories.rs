//! Random histories of three servers, which two servers under test learn of in different orders.

use std::collections::{BTreeMap, HashMap, HashSet};

use homeserver_core::{EventSn, Timestamp};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use room_engine::RoomVersion;
use room_engine::auth::{AuthState, check};
use rooms::Reception;
use ruma::OwnedEventId;
use serde_json::json;
use storage::{Append, Arrival, EventNumber, NewEvent, Standing, later_version};
use testing::{TestDatabase, on_both_databases};

use super::room::{Event, Plan, Room, State, join, join_rule, member, message, state, topic};
use super::server::{NOW, SERVERS, Server};

/// Histories for each test, if the variable `HISTORIES` does not say otherwise.
const HISTORIES: u64 = 12;
/// Events of a history.
const EVENTS: usize = 40;
/// Everything is checked whenever so many events have come in.
const CHECKED_AFTER: usize = 10;

const USERS: [&str; 6] = ["@alice:one", "@anne:one", "@bob:two", "@ben:two", "@carol:three", "@cleo:three"];

/// What happens in a room on three servers.
struct History<'a> {
    room: &'a Room,
    rng: StdRng,
    /// In an order in which they may come in.
    events: Vec<Event>,
    /// What each server saw last.
    ends: [Event; 3],
}

impl<'a> History<'a> {
    async fn random(room: &'a Room, seed: u64) -> Self {
        let start = room.end().await;
        let ends = [start.clone(), start.clone(), start];
        let mut history = Self { room, rng: StdRng::seed_from_u64(seed), events: Vec::new(), ends };
        for user in &USERS[1..] {
            if history.rng.random_bool(0.7) {
                let end = history.ends[0].clone();
                let event = room.build(&join(user), &[&end]);
                history.ends.fill(event.clone());
                history.events.push(event);
            }
        }
        while history.events.len() < EVENTS {
            history.step();
        }
        history
    }

    /// One server goes on from what it saw last, from what others saw too, or from what is long past.
    fn step(&mut self) {
        let server = self.rng.random_range(0..SERVERS.len());
        let mut prev_events = vec![self.ends[server].clone()];
        if self.rng.random_bool(0.1) {
            let past = self.events.len().saturating_sub(10);
            prev_events =
                self.events[past..].choose(&mut self.rng).or(prev_events.first()).into_iter().cloned().collect();
        }
        let other = &self.ends[(server + self.rng.random_range(1..3)) % 3];
        if self.rng.random_bool(0.4) && other.id() != prev_events[0].id() {
            prev_events.push(other.clone());
        }
        let prev_events: Vec<&Event> = prev_events.iter().collect();
        let plan = self.plan(SERVERS[server]);
        let event = self.room.build(&plan, &prev_events);
        let before = before(&prev_events);
        let state: AuthState = before.values().cloned().collect();
        let is_allowed = check(&event.pdu, &state).is_ok();
        if is_allowed || self.rng.random_bool(0.1) {
            let after = if is_allowed { event.after.clone() } else { before };
            let event = Event { pdu: event.pdu, after };
            self.ends[server] = event.clone();
            self.events.push(event);
        }
    }

    fn plan(&mut self, server: &str) -> Plan {
        let rng = &mut self.rng;
        let of_server: Vec<&str> = USERS.into_iter().filter(|user| user.ends_with(server)).collect();
        let sender = *of_server.choose(rng).unwrap();
        let other = *USERS.choose(rng).unwrap();
        let number = rng.random_range(0..100);
        let plan = match rng.random_range(0..20) {
            0..3 => join(sender),
            3 => member(sender, sender, "leave"),
            4 | 5 => member(sender, other, "leave"),
            6 | 7 => member(sender, other, "ban"),
            8 => member(sender, other, "invite"),
            9 | 10 => join_rule(sender, if rng.random() { "public" } else { "invite" }),
            11..14 => self.levels(sender, other),
            14..16 => topic(sender, &number.to_string()),
            16 | 17 => state(sender, "org.example.n", &(number % 3).to_string(), json!({ "n": number })),
            _ => message(sender, &number.to_string()),
        };
        Plan { origin_server_ts: Some(NOW + self.rng.random_range(0..5_000)), ..plan }
    }

    /// New power levels: what somebody last saw of them, with another level for one user.
    fn levels(&mut self, sender: &str, other: &str) -> Plan {
        let levels = *[0, 25, 50, 75].choose(&mut self.rng).unwrap();
        let known = self.ends.choose(&mut self.rng).unwrap();
        let known = &known.after[&("m.room.power_levels".to_owned(), String::new())];
        let mut content: serde_json::Value = serde_json::from_slice(known.content().as_bytes()).unwrap();
        if self.room.version < RoomVersion::V12 || other != "@alice:one" {
            content["users"][other] = json!(levels);
        }
        state(sender, "m.room.power_levels", "", content)
    }

    /// The events in another order in which they may come in.
    fn in_another_order(&mut self) -> Vec<Event> {
        let mut waiting: Vec<Event> = self.events.clone();
        let mut here: HashSet<OwnedEventId> = HashSet::new();
        let of_history: HashSet<OwnedEventId> = waiting.iter().map(|event| event.id().to_owned()).collect();
        let mut order = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            let is_ready = |event: &Event| {
                let mut named = event.pdu.prev_events().iter().chain(event.pdu.auth_events());
                named.all(|id| here.contains(id) || !of_history.contains(id))
            };
            let ready: Vec<usize> = (0..waiting.len()).filter(|index| is_ready(&waiting[*index])).collect();
            let event = waiting.swap_remove(*ready.choose(&mut self.rng).unwrap());
            here.insert(event.id().to_owned());
            order.push(event);
        }
        order
    }

    /// An event that follows all that nothing follows.
    fn last(&self) -> Event {
        let named: HashSet<&OwnedEventId> = self.events.iter().flat_map(|event| event.pdu.prev_events()).collect();
        let leaves: Vec<&Event> = self.events.iter().filter(|event| !named.contains(&event.id().to_owned())).collect();
        assert!(leaves.len() <= 20, "{} leaves", leaves.len());
        self.room.build(&message("@alice:one", "the end"), &leaves)
    }
}

fn before(prev_events: &[&Event]) -> State {
    let mut before = State::new();
    for event in prev_events {
        for (place, pdu) in &event.after {
            before.entry(place.clone()).or_insert_with(|| pdu.clone());
        }
    }
    before
}

impl Room {
    /// The same room, as far as it has come, at another server under test.
    async fn copy_to(&self, server: &Server) -> Self {
        let mut graph = self.graph().await.into_iter();
        let create = self.parse(&graph.next().unwrap());
        let interned = &server.interned;
        let event = NewEvent {
            number: EventNumber::default(),
            event_id: create.event_id().as_str().into(),
            type_sn: interned.event_type("m.room.create").await.unwrap(),
            state_key_sn: Some(interned.state_key("").await.unwrap()),
            sender_sn: interned.user("@alice:one").await.unwrap(),
            origin_server_ts: Timestamp(create.origin_server_ts()),
            depth: create.depth(),
            client_json: create.client_json().clone(),
            federation_json: create.federation_json().clone(),
            unread: std::sync::Arc::default(),
            replaces: None,
            membership: None,
            redacts: None,
            standing: Standing::Accepted,
            auth_events: Vec::new(),
            previous_in_chain: None,
            state_before: None,
            arrival: Arrival::default(),
        };
        let sn = interned.room(self.id.as_str()).await.unwrap();
        let append = Append {
            room_sn: sn,
            room_version: self.version.as_str().into(),
            expected_version: 0,
            new_version: later_version(0),
            events: vec![event],
            resolved: None,
            extremities: None,
            transaction: None,
            joined_change: 0,
            invited_change: 0,
            also: None,
            is_entry: false,
        };
        server.database.append(append).await.unwrap().await.unwrap().unwrap();
        let copy = self.at(server, sn);
        for event in graph {
            let event = Event { pdu: self.parse(&event), after: State::new() };
            assert_eq!(copy.standing(&event).await, Standing::Accepted);
        }
        copy
    }

    /// Takes in all of a history, and what ends it.
    async fn take_in(&self, events: &[Event], last: &Event) {
        for (count, event) in events.iter().chain([last]).enumerate() {
            let reception = self.server.timeline.receive(&self.id, &event.json(), &*self.server.keys).await.unwrap();
            assert!(matches!(reception, Reception::Stored(..)), "{reception:?} of {:?}", event.pdu);
            if count % CHECKED_AFTER == 0 {
                self.assert_consistent().await;
            }
        }
        self.assert_consistent().await;
        self.assert_resolved_as_by_ruma().await;
        self.assert_merges_resolved_as_by_ruma().await;
        self.assert_auth_chains().await;
    }

    /// The state after an event, by event IDs.
    async fn state_after(&self, event: &Event) -> BTreeMap<(String, String), OwnedEventId> {
        let ids: HashMap<EventSn, room_engine::Pdu> =
            self.graph().await.iter().map(|event| (event.stored.sn, self.parse(event))).collect();
        let entries = self.entries(self.stored(event).await.state.unwrap()).await;
        let entry = |sn: i64| {
            let pdu = &ids[&EventSn(sn)];
            ((pdu.event_type().to_owned(), pdu.state_key().unwrap().to_owned()), pdu.event_id().to_owned())
        };
        entries.into_values().map(entry).collect()
    }
}

/// Another database of the same kind.
pub(crate) async fn another(db: &TestDatabase) -> TestDatabase {
    if db.is_postgres() { TestDatabase::postgres().await } else { TestDatabase::sqlite() }
}

/// Has two servers learn of histories in different orders. `REPEATED_SEED` repeats one of them.
async fn check_histories(db: &TestDatabase, versions: &[RoomVersion]) {
    let other = another(db).await;
    let (one, two) = (Server::new(db).await, Server::new(&other).await);
    let repeated = std::env::var("REPEATED_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let seeds = match repeated {
        Some(seed) => vec![seed],
        None => {
            let count = std::env::var("HISTORIES").ok().map_or(HISTORIES, |count| count.parse().unwrap());
            (0..count).map(|_| rand::random()).collect()
        }
    };
    let levels = json!({ "users": { "@bob:two": 50, "@carol:three": 75 }, "invite": 0 });
    for seed in seeds {
        let version = versions[usize::try_from(seed % versions.len() as u64).unwrap()];
        println!("REPEATED_SEED={seed}, room version {}", version.as_str());
        let room = Room::with_levels(&one, version, &levels).await;
        let copy = room.copy_to(&two).await;
        let mut history = History::random(&room, seed).await;
        let (last, reordered) = (history.last(), history.in_another_order());
        room.take_in(&history.events, &last).await;
        copy.take_in(&reordered, &last).await;
        for event in history.events.iter().chain([&last]) {
            let is_rejected = room.stored(event).await.standing == Standing::Rejected;
            assert_eq!(is_rejected, copy.stored(event).await.standing == Standing::Rejected, "{:?}", event.pdu);
            assert_eq!(room.state_after(event).await, copy.state_after(event).await, "after {:?}", event.pdu);
        }
        // Where an event follows all of the history, it is the current state.
        let standings = (room.stored(&last).await.standing, copy.stored(&last).await.standing);
        if standings == (Standing::Accepted, Standing::Accepted) {
            let current = async |room: &Room| {
                let state = room.current_state().await.into_iter();
                state.map(|(place, pdu)| (place, pdu.event_id().to_owned())).collect::<BTreeMap<_, _>>()
            };
            assert_eq!(current(&room).await, room.state_after(&last).await);
            assert_eq!(current(&copy).await, copy.state_after(&last).await);
        }
    }
}

on_both_databases! {
    async fn version_1_comes_to_the_same_state_in_any_order(db: TestDatabase) {
        check_histories(&db, &[RoomVersion::V1]).await;
    }

    async fn versions_2_to_11_come_to_the_same_state_in_any_order(db: TestDatabase) {
        check_histories(&db, &RoomVersion::ALL[1..11]).await;
    }

    async fn version_12_comes_to_the_same_state_in_any_order(db: TestDatabase) {
        check_histories(&db, &[RoomVersion::V12]).await;
    }
}
