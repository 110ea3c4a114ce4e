//! Who is in which room, and what has been sent there.

use std::collections::HashMap;

use futures::future::join_all;
use serde_json::{Value, json};
use testing::{Client, User, path_segment};

use crate::load::{Attempt, Sent};
use crate::reading::{Seen, catch_up};
use crate::state;

const SENDERS: usize = 16;
const ROOMS: usize = 4;

/// Somebody who sends, and has seen everything up to a token of `/sync`.
pub(crate) struct Person {
    pub(crate) token: String,
    pub(crate) rooms: Vec<usize>,
    since: String,
}

/// A room, and what is known of its state.
pub(crate) struct Room {
    pub(crate) id: String,
    pub(crate) members: Vec<String>,
    pub(crate) power_levels: Value,
    pub(crate) level: u64,
}

/// Everybody in all rooms.
pub(crate) struct People {
    pub(crate) senders: Vec<Person>,
    pub(crate) rooms: Vec<Room>,
    /// Joins and leaves the first room again and again.
    pub(crate) rover: User,
    pub(crate) rover_is_joined: bool,
    /// The event ID of every message by its room and text.
    sent: HashMap<(usize, String), String>,
}

impl People {
    /// Makes the accounts and the rooms. The sender with a room's number owns it; half of the rooms have half of the members.
    pub(crate) async fn in_shared_rooms(client: &Client) -> Self {
        let names: Vec<_> = (0..SENDERS).map(|number| format!("sender{number}")).collect();
        let users = join_all(names.iter().map(|name| User::register(client, name))).await;
        let rover = User::register(client, "rover").await;
        let mut rooms = Vec::new();
        for number in 0..ROOMS {
            let owner = &users[number];
            let id = owner.create_room(&json!({ "preset": "public_chat" })).await;
            let members: Vec<_> = users.iter().enumerate().filter(|(user, _)| is_in(*user, number)).collect();
            join_all(members.iter().filter(|(user, _)| *user != number).map(|(_, user)| user.join(&id))).await;
            let path = format!("/_matrix/client/v3/rooms/{}/state/m.room.power_levels", path_segment(&id));
            let power_levels = owner.get(path).await.ok();
            let members = members.iter().map(|(_, user)| user.id.clone()).collect();
            rooms.push(Room { id, members, power_levels, level: 0 });
        }
        let mut senders = Vec::new();
        for (number, user) in users.iter().enumerate() {
            let sync = user.sync(None, 0).await;
            let rooms = (0..ROOMS).filter(|room| is_in(number, *room)).collect();
            let since = sync["next_batch"].as_str().unwrap().to_owned();
            senders.push(Person { token: user.token.clone(), rooms, since });
        }
        Self { senders, rooms, rover, rover_is_joined: false, sent: HashMap::new() }
    }

    /// Repeats every send and reads what every member has missed.
    pub(crate) async fn check_after_restart(&mut self, client: &Client, sent: Sent) {
        state::check(client, self, &sent).await;
        let repetitions = sent.attempts.into_iter().enumerate().map(|(sender, attempts)| {
            let attempts = attempts.into_iter().map(move |attempt| (sender, attempt));
            self.repeat_all(client, attempts)
        });
        let repeated = join_all(repetitions).await;
        let new: HashMap<_, _> = repeated.into_iter().flatten().collect();

        let caught_up = self.senders.iter().map(|person| catch_up(client, &person.token, Some(&person.since)));
        let caught_up = join_all(caught_up).await;
        self.check_seen(caught_up.iter().map(|(seen, _)| seen), &new);
        for (person, (_, next_batch)) in self.senders.iter_mut().zip(caught_up) {
            person.since = next_batch;
        }
        self.sent.extend(new);
    }

    /// Reads all that every member may see, from a first sync and back to the beginning.
    pub(crate) async fn check_from_the_beginning(&self, client: &Client) {
        let everything = self.senders.iter().map(|person| catch_up(client, &person.token, None));
        let everything = join_all(everything).await;
        self.check_seen(everything.iter().map(|(seen, _)| seen), &self.sent);
    }

    async fn repeat_all(
        &self,
        client: &Client,
        attempts: impl Iterator<Item = (usize, Attempt)>,
    ) -> Vec<((usize, String), String)> {
        let mut repeated = Vec::new();
        for (sender, attempt) in attempts {
            let (person, room) = (&self.senders[sender], &self.rooms[attempt.room]);
            let message = (attempt.room, attempt.transaction.clone());
            repeated.push((message, attempt.repeat(client, &person.token, &room.id).await));
        }
        repeated
    }

    /// Every member has seen exactly the messages `sent` into their rooms, all in the same order.
    fn check_seen<'a>(
        &self,
        seen: impl Iterator<Item = &'a HashMap<String, Vec<Seen>>>,
        sent: &HashMap<(usize, String), String>,
    ) {
        let mut orders: HashMap<usize, Vec<&Seen>> = HashMap::new();
        for (number, (person, seen)) in self.senders.iter().zip(seen).enumerate() {
            for room in &person.rooms {
                let events = seen.get(&self.rooms[*room].id).map_or(&[][..], Vec::as_slice);
                let messages: Vec<_> = events.iter().filter(|event| event.text.is_some()).collect();
                check_once(events, &format!("sender{number} in room {room}"));
                let found: HashMap<_, _> = messages.iter().map(|event| (&event.text, &event.event_id)).collect();
                assert_eq!(found.len(), messages.len(), "sender{number} sees a message twice in room {room}");
                let expected: Vec<_> = sent.iter().filter(|((in_room, _), _)| in_room == room).collect();
                for ((_, text), event_id) in &expected {
                    let found = found.get(&Some(text.clone()));
                    assert_eq!(found, Some(event_id), "sender{number} does not see {text} in room {room}");
                }
                assert_eq!(messages.len(), expected.len(), "sender{number} sees what nobody sent in room {room}");
                let order = orders.entry(*room).or_insert_with(|| messages.clone());
                assert_eq!(*order, messages, "sender{number} sees another order in room {room}");
            }
        }
    }
}

fn check_once(events: &[Seen], whose: &str) {
    let mut ids: Vec<_> = events.iter().map(|event| &event.event_id).collect();
    ids.sort_unstable();
    let twice = ids.windows(2).find(|pair| pair[0] == pair[1]);
    assert!(twice.is_none(), "{whose} sees {twice:?}");
}

fn is_in(user: usize, room: usize) -> bool {
    room.is_multiple_of(2) || user < ROOMS || user.is_multiple_of(2)
}
