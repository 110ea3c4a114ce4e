//! Sixteen people send at once, until the server is gone.

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use testing::{Client, Request, path_segment};

use crate::people::{People, Person};

/// One in so many sends is sent twice at once, and one in so many things that an owner does is to change power levels.
const RARITY: u32 = 6;

/// A message with a transaction ID. It is its own text, so that it can be found.
pub(crate) struct Attempt {
    pub(crate) room: usize,
    pub(crate) transaction: String,
    /// What it was answered with, if it was.
    event_id: Option<String>,
}

/// What happened between a start of the server and its end.
pub(crate) struct Sent {
    /// By sender.
    pub(crate) attempts: Vec<Vec<Attempt>>,
    /// The changes of power levels by room: the last one that was acknowledged, and one that was tried after it.
    pub(crate) levels: Vec<(Option<u64>, Option<u64>)>,
    /// The rover's memberships: the last one that was acknowledged, and one that was tried after it.
    pub(crate) rover_is_joined: (Option<bool>, Option<bool>),
}

impl Attempt {
    fn request(&self, client: &Client, token: &str, room_id: &str) -> Request {
        let room_id = path_segment(room_id);
        let path = format!("/_matrix/client/v3/rooms/{room_id}/send/m.room.message/{}", self.transaction);
        client.put(path).token(token).json(&json!({ "msgtype": "m.text", "body": self.transaction }))
    }

    /// Sends it, `times` at once; whether it was answered.
    async fn send(&mut self, client: &Client, token: &str, room_id: &str, times: usize) -> bool {
        let answers = join_all((0..times).map(|_| self.request(client, token, room_id).send())).await;
        for answer in answers.into_iter().flatten() {
            let event_id = answer.ok()["event_id"].as_str().unwrap().to_owned();
            let known = self.event_id.get_or_insert_with(|| event_id.clone());
            assert_eq!(*known, event_id, "{}, sent {times} times at once, has two events", self.transaction);
        }
        self.event_id.is_some()
    }

    /// Sends it again, and gives the event that it was answered with, now as before.
    pub(crate) async fn repeat(mut self, client: &Client, token: &str, room_id: &str) -> String {
        let times = if self.event_id.is_some() { 1 } else { 2 };
        assert!(self.send(client, token, room_id, times).await, "{} is not answered", self.transaction);
        self.event_id.unwrap()
    }
}

impl Sent {
    pub(crate) fn counts(&self) -> String {
        let attempts = || self.attempts.iter().flatten();
        let answered = attempts().filter(|attempt| attempt.event_id.is_some()).count();
        let levels = self.levels.iter().filter(|(acknowledged, _)| acknowledged.is_some()).count();
        format!("{answered} of {} messages answered, power levels changed in {levels} rooms", attempts().count())
    }
}

impl People {
    /// Sends until the server is gone.
    pub(crate) async fn load(&self, client: &Client, round: u64, seed: u64) -> Sent {
        let senders = self.senders.iter().enumerate().map(|(number, person)| {
            let random = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
            self.send_as(client, (number, person), round, random)
        });
        let (sent, rover_is_joined) = tokio::join!(join_all(senders), self.rove(client));
        let (attempts, mut levels): (Vec<_>, Vec<_>) = sent.into_iter().unzip();
        levels.truncate(self.rooms.len());
        Sent { attempts, levels, rover_is_joined }
    }

    async fn send_as(
        &self,
        client: &Client,
        (number, person): (usize, &Person),
        round: u64,
        mut random: StdRng,
    ) -> (Vec<Attempt>, (Option<u64>, Option<u64>)) {
        let mut attempts = Vec::new();
        let mut level = (None, None);
        for count in 0_u64.. {
            let is_answered = if number < self.rooms.len() && random.random_ratio(1, RARITY) {
                level.1 = Some(self.rooms[number].level + count + 1);
                self.set_level(client, person, number, &mut level).await
            } else {
                let room = person.rooms[random.random_range(0..person.rooms.len())];
                let transaction = format!("{round}-{number}-{count}");
                let mut attempt = Attempt { room, transaction, event_id: None };
                let times = if random.random_ratio(1, RARITY) { 2 } else { 1 };
                let is_answered = attempt.send(client, &person.token, &self.rooms[room].id, times).await;
                attempts.push(attempt);
                is_answered
            };
            if !is_answered {
                break;
            }
        }
        (attempts, level)
    }

    async fn set_level(
        &self,
        client: &Client,
        owner: &Person,
        room: usize,
        (acknowledged, tried): &mut (Option<u64>, Option<u64>),
    ) -> bool {
        let room = &self.rooms[room];
        let path = format!("/_matrix/client/v3/rooms/{}/state/m.room.power_levels", path_segment(&room.id));
        let content = room.power_levels_with(tried.unwrap());
        let Ok(answer) = client.put(path).token(&owner.token).json(&content).send().await else { return false };
        answer.ok();
        *acknowledged = tried.take();
        true
    }

    async fn rove(&self, client: &Client) -> (Option<bool>, Option<bool>) {
        let mut is_joined = self.rover_is_joined;
        let mut acknowledged = None;
        loop {
            let action = if is_joined { "leave" } else { "join" };
            let path = format!("/_matrix/client/v3/rooms/{}/{action}", path_segment(&self.rooms[0].id));
            is_joined = !is_joined;
            match client.post(path).token(&self.rover.token).json(&json!({})).send().await {
                Ok(answer) => answer.ok(),
                Err(_) => return (acknowledged, Some(is_joined)),
            };
            acknowledged = Some(is_joined);
        }
    }
}
