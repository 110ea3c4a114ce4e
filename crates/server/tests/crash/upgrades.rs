//! The program is killed while rooms are upgraded: each room is as it was, or replaced with all that belongs to it, and
//! the same request completes what was interrupted.

use std::time::Duration;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use testing::{Client, ServerProcess, on_both_databases, path_segment};

use crate::number_from;

const ROUNDS: u64 = 8;
const ROOMS: usize = 12;
const KILLED_AFTER_MS: std::ops::Range<u64> = 2..120;
const V3: &str = "/_matrix/client/v3";

/// A room in a space, which has an alias and is to be upgraded.
struct Room {
    id: String,
    alias: String,
    space: String,
    version: String,
}

impl Room {
    async fn upgrade(&self, client: &Client, token: &str) -> Option<String> {
        let path = format!("{V3}/rooms/{}/upgrade", path_segment(&self.id));
        let answer = client.post(path).token(token).json(&json!({ "new_version": self.version })).send().await.ok()?;
        Some(answer.ok()["replacement_room"].as_str().unwrap().to_owned())
    }

    /// The room that replaces it, with everything that came into being with the tombstone.
    async fn replacement(&self, client: &Client, token: &str) -> Option<String> {
        let tombstone = state(client, token, &self.id, "m.room.tombstone", "").await;
        let new = tombstone.map(|tombstone| tombstone["replacement_room"].as_str().unwrap().to_owned());
        let current = new.as_ref().unwrap_or(&self.id);
        let path = format!("{V3}/directory/room/{}", path_segment(&self.alias));
        assert_eq!(client.get(path).await.ok()["room_id"], **current, "{}", self.alias);
        let canonical = state(client, token, current, "m.room.canonical_alias", "").await.unwrap();
        assert_eq!(canonical, json!({ "alias": self.alias }));
        let levels = state(client, token, &self.id, "m.room.power_levels", "").await.unwrap();
        assert_eq!(levels["events_default"], if new.is_some() { 50 } else { 0 });
        new
    }

    async fn check_complete(&self, client: &Client, token: &str, new: &str) {
        let create = state(client, token, new, "m.room.create", "").await.unwrap();
        assert_eq!(create["predecessor"]["room_id"], *self.id);
        assert!(state(client, token, new, "m.room.power_levels", "").await.is_some());
        assert!(state(client, token, &self.space, "m.space.child", new).await.unwrap().get("via").is_some());
        assert_eq!(state(client, token, &self.space, "m.space.child", &self.id).await, Some(json!({})));
    }
}

async fn state(client: &Client, token: &str, room: &str, event_type: &str, state_key: &str) -> Option<Value> {
    let (room, state_key) = (path_segment(room), path_segment(state_key));
    let answer = client.get(format!("{V3}/rooms/{room}/state/{event_type}/{state_key}")).token(token).await;
    if answer.status == 404 { None } else { Some(answer.ok()) }
}

async fn make_room(client: &Client, token: &str, space: &str, (round, number): (u64, usize)) -> Room {
    let alias_name = format!("room{round}-{number}");
    let create = client.post(format!("{V3}/createRoom")).token(token).json(&json!({ "room_alias_name": alias_name }));
    let id = create.await.ok()["room_id"].as_str().unwrap().to_owned();
    let path = format!("{V3}/rooms/{}/state/m.space.child/{}", path_segment(space), path_segment(&id));
    assert!(client.put(path).token(token).json(&json!({ "via": ["localhost"] })).await.ok().is_object());
    let version = if number.is_multiple_of(2) { "11" } else { "12" };
    Room { id, alias: format!("#{alias_name}:localhost"), space: space.to_owned(), version: version.to_owned() }
}

on_both_databases! {
    async fn an_upgrade_that_is_interrupted_has_not_begun_or_can_be_completed(db: TestDatabase) {
        let seed = number_from("SYNAPSE_RUST_CRASH_SEED").unwrap_or_else(rand::random);
        println!("to repeat this: SYNAPSE_RUST_CRASH_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut server = ServerProcess::start(env!("CARGO_BIN_EXE_synapse-rust"), &db).await;
        let alice = server.register("alice").await;
        let space = alice.create_room(&json!({ "creation_content": { "type": "m.space" } })).await;
        let token = &alice.token;
        for round in 0..number_from("SYNAPSE_RUST_CRASH_ROUNDS").unwrap_or(ROUNDS) {
            let client = server.client();
            let rooms = join_all((0..ROOMS).map(|number| make_room(&client, token, &space, (round, number)))).await;
            let killed_after = Duration::from_millis(random.random_range(KILLED_AFTER_MS));
            let kill = async {
                tokio::time::sleep(killed_after).await;
                server.kill().await
            };
            let upgrades = join_all(rooms.iter().map(|room| room.upgrade(&client, token)));
            let (answers, _) = tokio::join!(upgrades, kill);
            server.restart().await;

            let client = server.client();
            let mut replaced = 0;
            for (room, answered) in rooms.iter().zip(&answers) {
                let found = room.replacement(&client, token).await;
                assert!(answered.is_none() || *answered == found, "{answered:?} was acknowledged, {found:?} found");
                replaced += usize::from(found.is_some());
                let new = room.upgrade(&client, token).await.unwrap();
                assert!(found.is_none_or(|found| found == new), "the upgrade of {} was done again", room.id);
                assert_eq!(room.replacement(&client, token).await.as_ref(), Some(&new));
                room.check_complete(&client, token, &new).await;
            }
            let answered = answers.iter().flatten().count();
            println!("round {round}: killed after {killed_after:?}, {replaced} replaced, {answered} answered");
        }
    }
}
