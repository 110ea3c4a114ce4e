//! What has to be so after the faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rooms::RoomCheck;
use ruma::RoomId;
use serde_json::Value;
use storage::{Interned, Standing};
use tokio::time::sleep;

use super::trial::{Sent, Trial};
use crate::world::{membership, room_path};

/// How long the homeservers may take to agree, and how often somebody says something meanwhile.
const AGREED_WITHIN: Duration = Duration::from_secs(60);
const ROUND: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(60);
/// How long what was said at homeservers that are not in the room any more may take to arrive.
const TOLD_WITHIN: Duration = Duration::from_secs(30);
/// The most pages of a room's history.
const MAX_PAGES: usize = 100;

/// The event at each place of a state.
type State = BTreeMap<(String, String), String>;

impl Trial {
    /// Ends the faults, and returns what is wrong when the homeservers have had time to agree.
    pub(super) async fn end(mut self) -> Vec<String> {
        self.cluster.heal().await;
        self.find_again();
        for room_id in self.rooms.clone() {
            if let Err(wrong) = self.agree_on(&room_id).await {
                self.wrong.push(wrong);
            }
        }
        self.look().await;
        self.look().await;
        for room_id in self.rooms.clone() {
            let began = Instant::now();
            let wrong = loop {
                self.read_all(&room_id).await;
                let wrong = self.lost(&room_id).await;
                // A homeserver that nobody is at any more still tells what was said there.
                if wrong.is_empty() || began.elapsed() > TOLD_WITHIN {
                    break wrong;
                }
                sleep(PAUSE).await;
            };
            self.wrong.extend(wrong);
            let wrong = self.damaged(&room_id).await;
            self.wrong.extend(wrong);
        }
        // What was fetched for those who read is not new.
        self.look().await;
        self.cluster.shutdown().await;
        self.wrong
    }

    /// Somebody of each homeserver that is in a room. One that all others in the room have thrown out is not, whatever it knows of that:
    /// nobody has to tell it any more what came before.
    async fn present(&self, room_id: &str) -> BTreeMap<usize, usize> {
        let mut present = BTreeMap::new();
        for (number, person) in self.people.iter().enumerate() {
            if self.says_joined(number, room_id, number).await {
                present.entry(person.server).or_insert(number);
            }
        }
        let mut thrown_out = Vec::new();
        for (server, person) in &present {
            let (mut others, mut admitting) = (0, 0);
            for reader in present.iter().filter(|(other, _)| *other != server).map(|(_, reader)| *reader) {
                others += 1;
                admitting += usize::from(self.says_joined(reader, room_id, *person).await);
            }
            if others > 0 && admitting == 0 {
                thrown_out.push(*server);
            }
        }
        // If nobody knows of anybody, there is something to find.
        if thrown_out.len() < present.len() {
            present.retain(|server, _| !thrown_out.contains(server));
        }
        present
    }

    /// Whether somebody is in a room, as the homeserver of a reader says.
    async fn says_joined(&self, reader: usize, room_id: &str, person: usize) -> bool {
        let (reader, person) = (&self.people[reader].user, &self.people[person].user);
        membership(reader, room_id, &person.id).await.as_deref() == Some("join")
    }

    /// Waits until the homeservers in a room agree on its state and have heard the last word of each other.
    async fn agree_on(&mut self, room_id: &str) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let before = self.sent.len();
            let present = self.present(room_id).await;
            for person in present.values() {
                self.say(*person, room_id, 1).await;
            }
            let words: Vec<Sent> = self.sent[before..].to_vec();
            let round = Instant::now();
            let mut difference = String::new();
            while round.elapsed() < ROUND {
                difference = self.difference(room_id, &words).await;
                if difference.is_empty() {
                    return Ok(());
                }
                sleep(PAUSE).await;
            }
            if began.elapsed() > AGREED_WITHIN {
                return Err(format!("no agreement on {room_id}: {difference}"));
            }
        }
    }

    /// Where the homeservers in a room differ; empty if they agree, and have all of `words`.
    async fn difference(&self, room_id: &str, words: &[Sent]) -> String {
        let present = self.present(room_id).await;
        let mut states: Vec<(usize, State)> = Vec::new();
        for (server, person) in &present {
            let answer = self.people[*person].user.get(room_path(room_id, "state")).await;
            let Some(events) = answer.json.as_array() else { return format!("no state: {answer}") };
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let entry = |event: &Value| ((text(&event["type"]), text(&event["state_key"])), text(&event["event_id"]));
            states.push((*server, events.iter().map(entry).collect()));
            let missing: Vec<String> = self.unknown(*server, room_id, words).await;
            if !missing.is_empty() {
                return format!("hs{} has not heard {missing:?}", server + 1);
            }
        }
        let mut differences = Vec::new();
        for pair in states.windows(2) {
            let [(one, left), (other, right)] = pair else { continue };
            let places: BTreeSet<_> = left.keys().chain(right.keys()).collect();
            for place in places.into_iter().filter(|place| left.get(*place) != right.get(*place)) {
                let (left, right) = (left.get(place), right.get(place));
                differences.push(format!("{place:?} is {left:?} at hs{} and {right:?} at hs{}", one + 1, other + 1));
            }
        }
        differences.join("; ")
    }

    /// Which of these events a homeserver does not know in the room.
    async fn unknown(&self, server: usize, room_id: &str, events: &[Sent]) -> Vec<String> {
        let standings = self.standings(server, room_id, events).await;
        let ids = events.iter().map(|sent| &sent.event_id);
        ids.filter(|id| !standings.contains_key(*id)).cloned().collect()
    }

    async fn standings(&self, server: usize, room_id: &str, events: &[Sent]) -> BTreeMap<String, Standing> {
        let database = self.cluster.servers[server].running().database();
        let Some(room_sn) = Interned::new(database.clone()).find_room(room_id).await.unwrap() else {
            return BTreeMap::new();
        };
        let ids: Vec<String> = events.iter().map(|sent| sent.event_id.clone()).collect();
        let found = database.graph_events_by_id(room_sn, &ids).await.unwrap();
        let placed = found.into_iter().filter(|event| event.standing != Standing::Outlier);
        placed.map(|event| (event.stored.event_id.to_string(), event.standing)).collect()
    }

    /// Reads the whole history of a room at each homeserver that is in it.
    async fn read_all(&mut self, room_id: &str) {
        for person in self.present(room_id).await.into_values() {
            let mut from = String::new();
            for _ in 0..MAX_PAGES {
                let path = room_path(room_id, &format!("messages?dir=b&limit=100{from}"));
                let answer = self.people[person].user.get(path).await;
                let Some(end) = answer.json["end"].as_str() else {
                    if answer.status != 200 {
                        self.wrong.push(format!("the history cannot be read: {answer}"));
                    }
                    break;
                };
                from = format!("&from={end}");
            }
        }
    }

    /// Events that were said to be sent, and that a homeserver in the room does not have, or judges as no other does.
    async fn lost(&self, room_id: &str) -> Vec<String> {
        let sent: Vec<Sent> = self.sent_to(room_id).cloned().collect();
        let mut wrong = Vec::new();
        for server in self.present(room_id).await.into_keys() {
            let standings = self.standings(server, room_id, &sent).await;
            for Sent { event_id, by, .. } in &sent {
                let what = match standings.get(event_id) {
                    None => "does not have",
                    Some(Standing::Rejected) => "rejects",
                    Some(_) => continue,
                };
                let pdu = self.pdu(room_id, event_id).await;
                wrong.push(format!("hs{} {what} {event_id} of {room_id}: {by}\n    {pdu}", server + 1));
            }
        }
        wrong
    }

    /// An event, as far as one of the homeservers has it.
    async fn pdu(&self, room_id: &str, event_id: &str) -> String {
        for server in &self.cluster.servers {
            let database = server.running().database();
            let Some(room_sn) = Interned::new(database.clone()).find_room(room_id).await.unwrap() else { continue };
            if let Some(event) = database.graph_events_by_id(room_sn, &[event_id.to_owned()]).await.unwrap().pop() {
                let parts = [event.stored.client_json, event.stored.federation_json];
                return parts.map(|part| String::from_utf8_lossy(&part).into_owned()).join(" ");
            }
        }
        "nobody has it".to_owned()
    }

    /// What does not follow from a room's events at a homeserver.
    async fn damaged(&self, room_id: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for server in self.present(room_id).await.into_keys() {
            let database = self.cluster.servers[server].running().database();
            let check = RoomCheck::new(database.clone(), Arc::new(Interned::new(database)));
            let report = check.check(<&RoomId>::try_from(room_id).unwrap()).await.unwrap();
            if report.is_damaged() {
                wrong.push(format!("a room at hs{} is damaged: {report}", server + 1));
            }
        }
        wrong
    }
}
