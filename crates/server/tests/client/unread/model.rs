//! Generated histories of a room, and a plain model that counts what is unread by going through all of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use testing::{TestServer, User, on_both_databases, path_segment};

use super::counts;
use crate::V3;

const PEOPLE: usize = 4;
/// Things that happen in one history.
const STEPS: usize = 70;
const HISTORIES: u64 = 4;

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    fn one_in(&mut self, end: usize) -> bool {
        self.below(end) == 0
    }
}

/// A message, as the model remembers it.
struct Message {
    id: String,
    /// The message that its thread begins with: it stays in there, whatever is redacted.
    thread: Option<usize>,
    /// The message that it is related to, and whether that is as part of a thread.
    relation: Option<(bool, usize)>,
    /// How many relations lead from it to what is in a thread by itself, or to what is related to nothing.
    hops: usize,
    /// Those whom it notifies, and whether it is highlighted for them.
    notified: BTreeMap<usize, bool>,
    sender: usize,
    is_redacted: bool,
}

/// What somebody is to the room, and what notifies them.
#[derive(Default)]
struct Person {
    /// How many messages there were when they came.
    joined_at: Option<usize>,
    is_muted: bool,
    wants_cake: bool,
    ignores: BTreeSet<usize>,
    /// How many messages they have read: of all (`None`), and of single threads, the main timeline being `Some(None)`.
    read: BTreeMap<Option<Option<usize>>, usize>,
}

#[derive(Default)]
struct Model {
    messages: Vec<Message>,
    people: Vec<Person>,
}

impl Model {
    /// What the push rules say of a message, for somebody who is in the room.
    fn notified(
        &self,
        person: usize,
        sender: usize,
        is_notice: bool,
        has_cake: bool,
        mentioned: &[usize],
    ) -> Option<bool> {
        let of = &self.people[person];
        if person == sender || of.joined_at.is_none() || of.ignores.contains(&sender) || is_notice {
            return None;
        }
        if mentioned.contains(&person) || (has_cake && of.wants_cake) {
            return Some(true);
        }
        (!of.is_muted).then_some(false)
    }

    /// The thread that a relation leads to now: a redacted message is related to nothing.
    fn thread_of(&self, mut relation: Option<(bool, usize)>) -> Option<usize> {
        while let Some((is_thread, other)) = relation {
            if is_thread {
                return Some(other);
            }
            relation = self.relation_of(other);
        }
        None
    }

    fn relation_of(&self, index: usize) -> Option<(bool, usize)> {
        let message = &self.messages[index];
        message.relation.filter(|_| !message.is_redacted)
    }

    /// What somebody has not read, by thread: what notifies, and what of it is highlighted.
    fn unread(&self, person: usize) -> BTreeMap<Option<usize>, (i64, i64)> {
        let of = &self.people[person];
        let mut unread = BTreeMap::from([(None, (0, 0))]);
        for (index, message) in self.messages.iter().enumerate().filter(|(_, message)| !message.is_redacted) {
            let Some(is_highlight) = message.notified.get(&person) else { continue };
            let read = [None, Some(message.thread)].iter().filter_map(|of_thread| of.read.get(of_thread)).max();
            if index < of.joined_at.unwrap() || read.is_some_and(|read| index < *read) {
                continue;
            }
            let count = unread.entry(message.thread).or_default();
            *count = (count.0 + 1, count.1 + i64::from(*is_highlight));
        }
        unread
    }
}

struct History {
    random: Random,
    users: Vec<User>,
    room: String,
    model: Model,
    redactions: usize,
    /// What each has synced last.
    since: Vec<Option<String>>,
}

impl History {
    async fn begin(server: &TestServer, seed: u64) -> Self {
        let mut users = Vec::new();
        for number in 0..PEOPLE {
            users.push(server.register(&format!("user{number}of{seed}")).await);
        }
        let room = users[0].create_room(&json!({ "preset": "public_chat" })).await;
        let people = (0..PEOPLE).map(|number| Person { joined_at: (number == 0).then_some(0), ..Person::default() });
        let model = Model { messages: Vec::new(), people: people.collect() };
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self { random, users, room, model, redactions: 0, since: vec![None; PEOPLE] }
    }

    async fn step(&mut self) {
        let person = self.random.below(PEOPLE);
        let is_joined = self.model.people[person].joined_at.is_some();
        match self.random.below(20) {
            0 if person > 0 && is_joined => {
                let path = format!("{V3}/rooms/{}/leave", path_segment(&self.room));
                self.users[person].post(path).json(&json!({})).await.ok();
                self.model.people[person].joined_at = None;
            }
            _ if !is_joined => {
                self.users[person].join(&self.room).await;
                self.model.people[person].joined_at = Some(self.model.messages.len());
            }
            1 => self.mute(person).await,
            2 => self.want_cake(person).await,
            3 => self.ignore(person).await,
            4..=8 if !self.model.messages.is_empty() => self.read(person).await,
            9 => {
                let path = format!("{V3}/profile/{}/displayname", path_segment(&self.users[person].id));
                let name = format!("name {}", self.random.below(1000));
                self.users[person].put(path).json(&json!({ "displayname": name })).await.ok();
            }
            10 | 11 if !self.model.messages.is_empty() => self.redact(person).await,
            _ => self.send(person).await,
        }
    }

    /// Redacts a message: the sender does, or whoever has made the room. Another time, perhaps.
    async fn redact(&mut self, person: usize) {
        let index = self.random.below(self.model.messages.len());
        let message = &mut self.model.messages[index];
        let redactor = if message.sender == person { person } else { 0 };
        message.is_redacted = true;
        let (room, event) = (path_segment(&self.room), path_segment(&message.id));
        self.redactions += 1;
        let path = format!("{V3}/rooms/{room}/redact/{event}/r{}", self.redactions);
        self.users[redactor].put(path).json(&json!({})).await.ok();
    }

    async fn mute(&mut self, person: usize) {
        let path = format!("{V3}/pushrules/global/room/{}", path_segment(&self.room));
        let of = &mut self.model.people[person];
        of.is_muted = !of.is_muted;
        if of.is_muted {
            self.users[person].put(path).json(&json!({ "actions": [] })).await.ok();
        } else {
            self.users[person].delete(path).await.ok();
        }
    }

    async fn want_cake(&mut self, person: usize) {
        let path = format!("{V3}/pushrules/global/content/cake");
        let of = &mut self.model.people[person];
        of.wants_cake = !of.wants_cake;
        if of.wants_cake {
            let rule = json!({ "pattern": "cake", "actions": ["notify", { "set_tweak": "highlight" }] });
            self.users[person].put(path).json(&rule).await.ok();
        } else {
            self.users[person].delete(path).await.ok();
        }
    }

    async fn ignore(&mut self, person: usize) {
        let other = self.random.below(PEOPLE);
        let of = &mut self.model.people[person];
        if !of.ignores.remove(&other) {
            of.ignores.insert(other);
        }
        let ignored: serde_json::Map<String, Value> =
            of.ignores.iter().map(|other| (self.users[*other].id.clone(), json!({}))).collect();
        let path = format!("{V3}/user/{}/account_data/m.ignored_user_list", path_segment(&self.users[person].id));
        self.users[person].put(path).json(&json!({ "ignored_users": ignored })).await.ok();
    }

    async fn read(&mut self, person: usize) {
        let index = self.random.below(self.model.messages.len());
        let message = &self.model.messages[index];
        let receipt_type = if self.random.one_in(3) { "m.read.private" } else { "m.read" };
        let (thread, body) = if self.random.one_in(2) {
            (None, json!({}))
        } else {
            let thread = self.model.thread_of(self.model.relation_of(index));
            let root = thread.map_or("main", |root| &self.model.messages[root].id);
            (Some(thread), json!({ "thread_id": root }))
        };
        let (room, event) = (path_segment(&self.room), path_segment(&message.id));
        let path = format!("{V3}/rooms/{room}/receipt/{receipt_type}/{event}");
        self.users[person].post(path).json(&body).await.ok();
        let read = self.model.people[person].read.entry(thread).or_default();
        *read = (*read).max(index + 1);
    }

    async fn send(&mut self, sender: usize) {
        let (is_notice, has_cake) = (self.random.one_in(8), self.random.one_in(5));
        let mentioned: Vec<usize> = (0..PEOPLE).filter(|_| self.random.one_in(10)).collect();
        let ids: Vec<&str> = mentioned.iter().map(|person| self.users[*person].id.as_str()).collect();
        let mut content = json!({
            "msgtype": if is_notice { "m.notice" } else { "m.text" },
            "body": if has_cake { "There is cake." } else { "There is nothing." },
            "m.mentions": { "user_ids": ids },
        });
        let (mut relation, mut hops) = (None, 0);
        if !self.model.messages.is_empty() && self.random.one_in(2) {
            let other = self.random.below(self.model.messages.len());
            let of_other = self.model.messages[other].thread;
            if self.random.one_in(2) {
                // Into the thread of another message, or a new one after it.
                let mut root = of_other.unwrap_or(other);
                // A thread begins with a message that is related to nothing.
                while let Some((_, target)) = self.model.relation_of(root) {
                    root = target;
                }
                relation = Some((true, root));
                content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": self.model.messages[root].id });
            } else if self.model.messages[other].hops < 3 {
                relation = Some((false, other));
                hops = self.model.messages[other].hops + 1;
                let other = &self.model.messages[other].id;
                content["m.relates_to"] = json!({ "rel_type": "m.reference", "event_id": other });
            }
        }
        let id =
            super::send(&self.users[sender], &self.room, &format!("m{}", self.model.messages.len()), content).await;
        let notified = (0..PEOPLE)
            .filter_map(|person| Some((person, self.model.notified(person, sender, is_notice, has_cake, &mentioned)?)));
        let notified = notified.collect();
        let thread = self.model.thread_of(relation);
        self.model.messages.push(Message { id, thread, relation, hops, notified, sender, is_redacted: false });
    }

    /// Compares what everybody is told with the model: from the start, and from where they were.
    async fn compare(&mut self) {
        let filter = path_segment(r#"{"room":{"timeline":{"unread_thread_notifications":true}}}"#);
        for person in 0..PEOPLE {
            if self.model.people[person].joined_at.is_none() {
                self.since[person] = None;
                continue;
            }
            let expected = self.model.unread(person);
            let since = self.since[person].take();
            let since = since.map_or_else(String::new, |since| format!("&since={since}"));
            for since in [since.as_str(), ""] {
                let answer = self.users[person].get(format!("{V3}/sync?filter={filter}{since}")).await.ok();
                self.since[person] = Some(answer["next_batch"].as_str().unwrap().to_owned());
                let room = &answer["rooms"]["join"][&self.room];
                // Rooms in which nothing happened are not told.
                if room.is_object() && room.get("unread_notifications").is_some() {
                    assert_eq!(self.told(room), expected, "user {person}, {since:?}: {room}");
                } else {
                    assert!(!since.is_empty(), "user {person} is told nothing");
                }
            }
        }
    }

    /// The counts of an answer, in the form of the model.
    fn told(&self, room: &Value) -> BTreeMap<Option<usize>, (i64, i64)> {
        let index = |id: &str| self.model.messages.iter().position(|message| message.id == id).unwrap();
        let threads = room["unread_thread_notifications"].as_object();
        let threads = threads.into_iter().flatten().map(|(root, json)| (Some(index(root)), counts(json)));
        threads.chain([(None, counts(&room["unread_notifications"]))]).collect()
    }
}

async fn histories(server: &TestServer, first_seed: u64) {
    for seed in first_seed..first_seed + HISTORIES {
        // Shown if the test fails.
        println!("seed {seed}");
        let mut history = History::begin(server, seed).await;
        for step in 0..STEPS {
            history.step().await;
            if step % 5 == 4 {
                history.compare().await;
            }
        }
    }
}

on_both_databases! {
    async fn counts_are_those_of_a_model_that_goes_through_everything(db: TestDatabase) {
        histories(&TestServer::start(&db).await, 1).await;
    }

    async fn counts_are_the_same_where_hardly_anything_stays_in_memory(db: TestDatabase) {
        let settings = [("caches", "memory_budget", "1MiB".into()), ("caches", "time_to_live", "1ms".into())];
        histories(&TestServer::start_with(&db, &settings).await, 100).await;
    }
}
