//! What people do while the network has faults, as a seed says.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};
use testing::{Answer, Request, TestDatabase, User, path_segment};
use tokio::time::{sleep, timeout};

use super::cluster::{Cluster, SERVERS};
use crate::world::{V3, room_path};

/// So many things happen.
const STEPS: usize = 45;
/// How long the next one takes to happen.
const PAUSE_MS: std::ops::Range<u64> = 0..60;
/// After so many things, people look what is new.
const LOOK_AFTER: usize = 6;
/// How long somebody waits for an answer. What is asked for may happen all the same.
const PATIENCE: Duration = Duration::from_secs(6);
/// So many messages are sent at once, now and then.
const BURST: usize = 60;
const VERSIONS: [&str; 4] = ["6", "10", "11", "12"];
/// Who there is, and at which homeserver.
const PEOPLE: [(&str, usize); 4] = [("alice", 0), ("bob", 1), ("carol", 2), ("dave", 1)];

/// Somebody who does things, and has seen everything up to a token of `/sync`.
pub(super) struct Person {
    pub(super) user: User,
    pub(super) server: usize,
    since: String,
    /// What they were shown, by room.
    seen: HashMap<String, BTreeSet<String>>,
}

/// An event that somebody was told is sent.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) room_id: String,
    pub(super) event_id: String,
    /// The request, with the answer.
    pub(super) by: String,
}

/// One seed.
pub(super) struct Trial {
    pub(super) cluster: Cluster,
    pub(super) people: Vec<Person>,
    pub(super) rooms: Vec<String>,
    pub(super) sent: Vec<Sent>,
    /// What was wrong so far.
    pub(super) wrong: Vec<String>,
    random: StdRng,
    transactions: u64,
}

impl Trial {
    /// Everybody in two rooms, before there are faults.
    pub(super) async fn start(db: &TestDatabase, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let cluster = Cluster::start(db, &mut random).await;
        let registering = PEOPLE.map(|(name, server)| cluster.servers[server].register(name));
        let users = futures::future::join_all(registering).await;
        let person = |(user, (_, server)): (User, (&str, usize))| Person {
            user,
            server,
            since: String::new(),
            seen: HashMap::new(),
        };
        let people: Vec<Person> = users.into_iter().zip(PEOPLE).map(person).collect();
        let (rooms, sent, wrong) = (Vec::new(), Vec::new(), Vec::new());
        let mut trial = Self { cluster, people, rooms, sent, wrong, random, transactions: 0 };
        for _ in 0..2 {
            trial.found_room().await;
        }
        trial.look().await;
        trial
    }

    async fn found_room(&mut self) {
        let founder = self.random.random_range(0..self.people.len());
        let version = VERSIONS.choose(&mut self.random).unwrap();
        let request = json!({
            "preset": "public_chat",
            "room_version": version,
            "power_level_content_override": { "state_default": 0, "events": {}, "kick": 0, "ban": 0, "redact": 0 },
        });
        let server = self.people[founder].server;
        let room_id = self.people[founder].user.create_room(&request).await;
        println!("room {} is {room_id} of {}, version {version}", self.rooms.len(), self.people[founder].user.id);
        for person in (0..self.people.len()).filter(|person| *person != founder) {
            let via = format!("via={}", self.cluster.servers[server].name);
            let path = format!("{V3}/join/{}?{via}", path_segment(&room_id));
            self.people[person].user.post(path).json(&json!({})).await.ok();
        }
        self.rooms.push(room_id);
    }

    /// Has things happen.
    pub(super) async fn play(&mut self) {
        self.cluster.be_faulty(true);
        for step in 1..=STEPS {
            self.step().await;
            sleep(Duration::from_millis(self.random.random_range(PAUSE_MS))).await;
            if step.is_multiple_of(LOOK_AFTER) {
                self.look().await;
            }
        }
    }

    async fn step(&mut self) {
        let person = self.random.random_range(0..self.people.len());
        let other = self.random.random_range(0..self.people.len());
        let room_id = self.rooms.choose(&mut self.random).unwrap().clone();
        match self.random.random_range(0..100) {
            0..40 => self.say(person, &room_id, 1).await,
            40..44 => self.say(person, &room_id, BURST).await,
            44..56 => self.set(person, &room_id, "m.room.topic", "topic").await,
            56..62 => self.set(person, &room_id, "m.room.name", "name").await,
            62..66 => self.membership(person, &room_id, "leave", None).await,
            66..76 => self.join(person, &room_id).await,
            76..78 => self.membership(person, &room_id, "kick", Some(other)).await,
            78..79 => self.membership(person, &room_id, "ban", Some(other)).await,
            79..81 => self.membership(person, &room_id, "unban", Some(other)).await,
            81..84 => self.redact(person, &room_id).await,
            84..89 => self.cut_or_mend(true),
            89..93 => self.cut_or_mend(false),
            93..96 => self.stop_one().await,
            _ => self.start_all().await,
        }
    }

    /// Whose homeserver runs.
    fn user_of(&self, person: usize) -> Option<&User> {
        let person = &self.people[person];
        self.cluster.servers[person.server].is_running().then_some(&person.user)
    }

    pub(super) async fn say(&mut self, person: usize, room_id: &str, count: usize) {
        for _ in 0..count {
            self.transactions += 1;
            let number = self.transactions;
            let path = room_path(room_id, &format!("send/m.room.message/{number}"));
            let Some(user) = self.user_of(person) else { return };
            let body = format!("message {number} of {}", user.id);
            let request = user.put(path).json(&json!({ "msgtype": "m.text", "body": body }));
            self.make(request, room_id).await;
        }
    }

    async fn set(&mut self, person: usize, room_id: &str, event_type: &str, key: &str) {
        self.transactions += 1;
        let Some(user) = self.user_of(person) else { return };
        let content = json!({ key: format!("{key} {} of {}", self.transactions, user.id) });
        let request = user.put(room_path(room_id, &format!("state/{event_type}/"))).json(&content);
        self.make(request, room_id).await;
    }

    async fn redact(&mut self, person: usize, room_id: &str) {
        self.transactions += 1;
        let of_room: Vec<String> = self.sent_to(room_id).map(|sent| sent.event_id.clone()).collect();
        let Some(target) = of_room.choose(&mut self.random) else { return };
        let path = room_path(room_id, &format!("redact/{}/{}", path_segment(target), self.transactions));
        let Some(user) = self.user_of(person) else { return };
        let request = user.put(path).json(&json!({}));
        self.make(request, room_id).await;
    }

    async fn membership(&mut self, person: usize, room_id: &str, action: &str, of: Option<usize>) {
        let Some(user) = self.user_of(person) else { return };
        let body = of.map_or_else(|| json!({}), |of| json!({ "user_id": self.people[of].user.id }));
        println!("{} asks for {action} {body} in {room_id}", user.id);
        let request = user.post(room_path(room_id, action)).json(&body);
        self.make(request, room_id).await;
    }

    async fn join(&mut self, person: usize, room_id: &str) {
        let Some(user) = self.user_of(person) else { return };
        let own = &self.cluster.servers[self.people[person].server].name;
        let others = self.cluster.servers.iter().filter(|server| server.name != *own);
        let via: Vec<String> = others.map(|server| format!("via={}", server.name)).collect();
        let path = format!("{V3}/join/{}?{}", path_segment(room_id), via.join("&"));
        println!("{} joins {room_id}", user.id);
        let request = user.post(path).json(&json!({}));
        self.make(request, room_id).await;
    }

    /// Makes a request that may be refused, or not be answered, and notes the event that it has sent.
    async fn make(&mut self, request: Request, room_id: &str) {
        let answer: Option<Answer> = timeout(PATIENCE, request.send()).await.ok().and_then(Result::ok);
        let Some(answer) = answer else { return };
        if answer.status.is_server_error() && !matches!(answer.status.as_u16(), 502..=504) {
            self.wrong.push(format!("an error of the server: {answer}"));
        }
        if let Some(event_id) = answer.json["event_id"].as_str() {
            let by = answer.to_string();
            self.sent.push(Sent { room_id: room_id.to_owned(), event_id: event_id.to_owned(), by });
        }
    }

    pub(super) fn sent_to(&self, room_id: &str) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(move |sent| sent.room_id == room_id)
    }

    fn cut_or_mend(&mut self, is_cut: bool) {
        let one = self.random.random_range(0..SERVERS);
        let other = (one + self.random.random_range(1..SERVERS)) % SERVERS;
        println!("{} between hs{} and hs{}", if is_cut { "cut" } else { "mended" }, one + 1, other + 1);
        self.cluster.between(one, other).for_each(|link| if is_cut { link.cut() } else { link.mend() });
    }

    async fn stop_one(&mut self) {
        let server = self.random.random_range(0..SERVERS);
        if self.cluster.running() > 1 {
            println!("hs{} stops", server + 1);
            self.cluster.servers[server].stop().await;
        }
    }

    async fn start_all(&mut self) {
        for server in 0..SERVERS {
            if !self.cluster.servers[server].is_running() {
                println!("hs{} starts", server + 1);
                self.cluster.servers[server].start().await;
            }
        }
        self.find_again();
    }

    /// The homeservers that were started again have other addresses.
    pub(super) fn find_again(&mut self) {
        for person in &mut self.people {
            let server = &self.cluster.servers[person.server];
            if server.is_running() {
                person.user = server.again(&person.user);
            }
        }
    }

    /// Everybody looks what is new, and nobody is shown an event again.
    pub(super) async fn look(&mut self) {
        for number in 0..self.people.len() {
            if self.user_of(number).is_none() {
                continue;
            }
            let person = &mut self.people[number];
            let since = Some(person.since.as_str()).filter(|since| !since.is_empty());
            let synced = person.user.sync(since, 0).await;
            synced["next_batch"].as_str().unwrap().clone_into(&mut person.since);
            let wrong = person.see(&synced);
            self.wrong.extend(wrong);
        }
    }
}

impl Person {
    fn see(&mut self, synced: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        for section in ["join", "leave"] {
            let Some(rooms) = synced["rooms"][section].as_object() else { continue };
            for (room_id, room) in rooms {
                let events = room["timeline"]["events"].as_array().map(Vec::as_slice).unwrap_or_default();
                let is_own = |event: &&Value| event["type"] == "m.room.member" && event["state_key"] == *self.user.id;
                // Who comes back is shown the last events again.
                if events.iter().any(|event| is_own(&event)) {
                    self.seen.remove(room_id);
                }
                let seen = self.seen.entry(room_id.clone()).or_default();
                for event_id in events.iter().filter_map(|event| event["event_id"].as_str()) {
                    if !seen.insert(event_id.to_owned()) {
                        wrong.push(format!("{} is shown {event_id} of {room_id} twice: {room}", self.user.id));
                    }
                }
            }
        }
        wrong
    }
}
