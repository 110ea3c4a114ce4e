//! Reading what was said in rooms of other homeservers before anybody of this one came.

use serde_json::{Value, json};
use testing::{User, on_both_databases, path_segment};

use crate::world::{Network, join_via, room_path};

/// All messages that a user can read, the newest first, in pages of `limit`.
async fn messages(user: &User, room_id: &str, limit: usize) -> Vec<String> {
    let (mut from, mut bodies) = (String::new(), Vec::new());
    for _ in 0..100 {
        let path = room_path(room_id, &format!("messages?dir=b&limit={limit}{from}"));
        let page = user.get(path).await.ok();
        let chunk = page["chunk"].as_array().unwrap();
        bodies.extend(chunk.iter().filter_map(|event| event["content"]["body"].as_str()).map(ToOwned::to_owned));
        match page["end"].as_str() {
            Some(end) => from = format!("&from={end}"),
            None => break,
        }
    }
    bodies
}

async fn public_room(user: &User, version: &str, visibility: &str) -> String {
    let visibility = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": visibility } });
    let request = json!({ "preset": "public_chat", "room_version": version, "initial_state": [visibility] });
    user.create_room(&request).await
}

fn numbers(range: std::ops::RangeInclusive<u32>) -> Vec<String> {
    range.rev().map(|number| number.to_string()).collect()
}

on_both_databases! {
    async fn history_from_before_the_join_is_fetched_page_by_page(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        for version in ["1", "11", "12"] {
            let room_id = public_room(&alice, version, "shared").await;
            for number in 1..=130 {
                alice.send_text(&room_id, &number.to_string()).await;
            }
            join_via(&bob, &room_id, &[&network[0]]).await.ok();
            assert_eq!(messages(&bob, &room_id, 40).await, numbers(1..=130), "{version}");
            // It is here now, and is not new.
            let synced = bob.sync(None, 0).await;
            let timeline = &synced["rooms"]["join"][&room_id]["timeline"];
            assert_eq!(timeline["events"].as_array().unwrap().len(), 1, "{timeline}");
        }
        network.shutdown().await;
    }

    async fn what_the_room_hides_from_newcomers_is_not_shown(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let room_id = public_room(&alice, "11", "joined").await;
        alice.send_text(&room_id, "1").await;
        join_via(&bob, &room_id, &[&network[0]]).await.ok();
        bob.send_text(&room_id, "2").await;
        assert_eq!(messages(&bob, &room_id, 100).await, ["2"]);
        network.shutdown().await;
    }

    async fn history_is_there_when_its_server_is_not_any_more(db: TestDatabase) {
        let mut network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let room_id = public_room(&alice, "11", "shared").await;
        for number in 1..=5 {
            alice.send_text(&room_id, &number.to_string()).await;
        }
        join_via(&bob, &room_id, &[&network[0]]).await.ok();
        assert_eq!(messages(&bob, &room_id, 3).await, numbers(1..=5));
        network.get_mut(0).stop().await;
        bob.send_text(&room_id, "6").await;
        assert_eq!(messages(&bob, &room_id, 100).await, numbers(1..=6));
        network.shutdown().await;
    }

    async fn a_page_is_answered_though_nobody_has_what_is_missing(db: TestDatabase) {
        let mut network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let room_id = public_room(&alice, "11", "shared").await;
        alice.send_text(&room_id, "1").await;
        join_via(&bob, &room_id, &[&network[0]]).await.ok();
        network.get_mut(0).stop().await;
        bob.send_text(&room_id, "2").await;
        assert_eq!(messages(&bob, &room_id, 100).await, ["2"]);
        network.shutdown().await;
    }

    async fn an_event_is_found_by_its_time_at_another_homeserver(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let room_id = public_room(&alice, "11", "shared").await;
        let first = alice.send_text(&room_id, "1").await;
        for number in 2..=30 {
            alice.send_text(&room_id, &number.to_string()).await;
        }
        join_via(&bob, &room_id, &[&network[0]]).await.ok();
        let event = alice.get(room_path(&room_id, &format!("event/{}", path_segment(&first)))).await.ok();
        let sent_at = event["origin_server_ts"].as_i64().unwrap();
        let path = format!("/_matrix/client/v1/rooms/{}/timestamp_to_event?dir=f&ts={sent_at}", path_segment(&room_id));
        let found = bob.get(&path).await.ok();
        assert_eq!(found["origin_server_ts"], json!(sent_at));
        let around = room_path(&room_id, &format!("context/{}?limit=4", path_segment(found["event_id"].as_str().unwrap())));
        let context = bob.get(around).await.ok();
        assert_eq!(context["event"]["event_id"], found["event_id"]);
        // From there on the past is read like any other.
        let path = room_path(&room_id, &format!("messages?dir=b&limit=3&from={}", context["end"].as_str().unwrap()));
        let types: Vec<Value> =
            bob.get(path).await.ok()["chunk"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect();
        assert_eq!(types.len(), 3, "{types:?}");
        network.shutdown().await;
    }
}
