//! What other servers are told of rooms that they are in.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use homeserver_core::{FixedClock, Identity, Timestamp};
use room_engine::RoomVersion;
use rooms::RoomError;
use rooms::serving::{MissingEvents, Serving, TimeDirection};
use ruma::{OwnedEventId, owned_server_name, server_name};
use serde_json::{Value, json};
use tasks::limits::{Limit, LimitSize, Unobserved};
use testing::on_both_databases;

use super::room::{Event, Room, join, message, state, topic};
use super::server::{NOW, Server, key_pair};

fn serving(server: &Server) -> Serving {
    let name = owned_server_name!("one");
    let identity = Arc::new(Identity { key_pair: Arc::new(key_pair(&name)), server_name: name });
    let size = LimitSize { running: NonZeroUsize::MIN, waiting: 100, longest_wait: Duration::from_secs(10) };
    Serving::new(
        server.database.clone(),
        server.interned.clone(),
        server.states.clone(),
        server.timeline.clone(),
        identity,
        Arc::new(FixedClock::new(Timestamp(NOW))),
        Arc::new(Limit::new("whole_states", size, Arc::new(Unobserved))),
    )
}

fn parsed(answer: Result<Vec<u8>, RoomError>) -> Value {
    serde_json::from_slice(&answer.unwrap()).unwrap()
}

/// What the messages of an answer say; `-` for those of which the text was taken out.
fn bodies(events: &Value) -> String {
    let body = |event: &Value| event["content"]["body"].as_str().unwrap_or("-").to_owned();
    events.as_array().unwrap().iter().filter(|event| event["type"] == "m.room.message").map(body).collect()
}

fn ids(events: &[&Event]) -> Vec<OwnedEventId> {
    events.iter().map(|event| event.id().to_owned()).collect()
}

/// A room with `@bob:two` and some messages.
async fn room_with_messages(server: &Server, visibility: &str) -> (Room, Vec<Event>) {
    let room = Room::create(server, RoomVersion::V11).await;
    let content = json!({ "history_visibility": visibility });
    room.send(&state("@alice:one", "m.room.history_visibility", "", content)).await;
    let mut events = vec![room.accept(&join("@bob:two"), &[&room.end().await]).await];
    for body in ["1", "2", "3", "4"] {
        let end = events.last().unwrap();
        let event = room.accept(&message("@bob:two", body), &[end]).await;
        events.push(event);
    }
    (room, events)
}

on_both_databases! {
    async fn a_server_in_the_room_is_told_what_came_before(db: TestDatabase) {
        let server = Server::new(&db).await;
        let (room, events) = room_with_messages(&server, "shared").await;
        let (serving, two) = (serving(&server), server_name!("two"));
        let last = ids(&[&events[4]]);
        let answer = parsed(serving.backfill(two, &room.id, &last, 3).await);
        assert_eq!(bodies(&answer["pdus"]), "432");
        assert_eq!(answer["origin"], "one");
        let all = parsed(serving.backfill(two, &room.id, &last, 1_000).await);
        let oldest = all["pdus"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&oldest["type"], &oldest["auth_events"]), (&json!("m.room.create"), &json!([])));
        let between = MissingEvents { earliest: ids(&[&events[1]]), latest: last, limit: 10, min_depth: 0 };
        let answer = parsed(serving.missing_events(two, &room.id, &between).await);
        assert_eq!(bodies(&answer["events"]), "23");
        let answer = parsed(serving.event(two, events[2].id()).await);
        assert_eq!(bodies(&answer["pdus"]), "2");
        let answer = parsed(serving.event_at_time(two, &room.id, Timestamp(0), TimeDirection::Forwards).await);
        assert_eq!(answer["event_id"], oldest_id(&room).await.as_str());
    }

    async fn the_state_before_an_event_is_told_with_its_auth_chain(db: TestDatabase) {
        let server = Server::new(&db).await;
        let (room, events) = room_with_messages(&server, "shared").await;
        let (serving, two) = (serving(&server), server_name!("two"));
        let before = room.send(&topic("@alice:one", "before")).await;
        let after = room.send(&topic("@alice:one", "after")).await;
        let told = parsed(serving.state_ids(two, &room.id, after.id()).await);
        let state: Vec<&str> = told["pdu_ids"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let mut expected: Vec<&str> = before.after.values().map(|pdu| pdu.event_id().as_str()).collect();
        expected.sort_unstable();
        let mut found = state.clone();
        found.sort_unstable();
        assert_eq!(found, expected);
        let whole = parsed(serving.state(two, &room.id, after.id()).await);
        assert_eq!(whole["pdus"].as_array().unwrap().len(), state.len());
        let chain = told["auth_chain_ids"].as_array().unwrap();
        assert_eq!(whole["auth_chain"].as_array().unwrap().len(), chain.len());
        assert!(chain.len() >= 4, "{chain:?}");
        let auth = parsed(serving.event_auth(two, &room.id, events[1].id()).await);
        let types: Vec<&Value> = auth["auth_chain"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
        for needed in ["m.room.create", "m.room.power_levels", "m.room.member", "m.room.join_rules"] {
            assert!(types.contains(&&json!(needed)), "{needed}: {types:?}");
        }
    }

    async fn servers_outside_are_told_nothing(db: TestDatabase) {
        let server = Server::new(&db).await;
        let (room, events) = room_with_messages(&server, "world_readable").await;
        let (serving, three) = (serving(&server), server_name!("three"));
        let last = ids(&[&events[4]]);
        let between = MissingEvents { earliest: vec![], latest: last.clone(), limit: 10, min_depth: 0 };
        let answers = [
            serving.backfill(three, &room.id, &last, 3).await,
            serving.missing_events(three, &room.id, &between).await,
            serving.event(three, events[2].id()).await,
            serving.state(three, &room.id, events[2].id()).await,
            serving.state_ids(three, &room.id, events[2].id()).await,
            serving.event_auth(three, &room.id, events[2].id()).await,
            serving.event_at_time(three, &room.id, Timestamp(0), TimeDirection::Forwards).await,
        ];
        for answer in answers {
            assert!(matches!(answer, Err(RoomError::Forbidden(_))), "{answer:?}");
        }
    }

    async fn what_a_server_may_not_see_is_redacted(db: TestDatabase) {
        let server = Server::new(&db).await;
        let (room, events) = room_with_messages(&server, "joined").await;
        let carol = room.accept(&join("@carol:three"), &[&events[4]]).await;
        let last = room.accept(&message("@bob:two", "5"), &[&carol]).await;
        let serving = serving(&server);
        for (name, expected) in [(server_name!("two"), "54321"), (server_name!("three"), "5----")] {
            let answer = parsed(serving.backfill(name, &room.id, &ids(&[&last]), 100).await);
            assert_eq!(bodies(&answer["pdus"]), expected, "{name}");
        }
        let earliest = serving.event_at_time(server_name!("three"), &room.id, Timestamp(0), TimeDirection::Forwards);
        // What came before the visibility was changed can be read by users who came later.
        assert_eq!(parsed(earliest.await)["event_id"], oldest_id(&room).await.as_str());
    }
}

async fn oldest_id(room: &Room) -> OwnedEventId {
    room.timeline().await[0].as_str().try_into().unwrap()
}
