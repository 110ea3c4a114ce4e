//! What a room's state allows is the same at every server, at once.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use testing::path_segment;

use crate::world::{Follower, Nodes, room_of_two, room_path, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_banned_at_one_server_sends_nothing_at_the_other() {
    let nodes = Nodes::start(2).await;
    let (alice, bob, room_id) = room_of_two(&nodes).await;
    for round in 0..5 {
        // The second server has the room in memory, with Bob in it.
        bob.send_text(&room_id, &format!("hello {round}")).await;
        let target = json!({ "user_id": bob.id });
        alice.post(room_path(&room_id, "ban")).json(&target).await.ok();
        let path = room_path(&room_id, &format!("send/m.room.message/banned{round}"));
        bob.put(path).json(&json!({ "msgtype": "m.text", "body": "too late" })).await.error(403, "M_FORBIDDEN");
        bob.post(room_path(&room_id, "join")).json(&json!({})).await.error(403, "M_FORBIDDEN");
        // And who may come in again comes in at once.
        alice.post(room_path(&room_id, "unban")).json(&target).await.ok();
        bob.join(&room_id).await;
    }
    let messages = alice.get(room_path(&room_id, "messages?dir=b&limit=100")).await.ok();
    assert!(!messages.to_string().contains("too late"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_invited_at_one_server_joins_at_the_other_at_once() {
    let nodes = Nodes::start(2).await;
    let alice = nodes.servers[0].register("alice").await;
    let bob = nodes.servers[1].register("bob").await;
    let room_id = alice.create_room(&json!({ "preset": "private_chat" })).await;
    for _ in 0..5 {
        bob.post(room_path(&room_id, "join")).json(&json!({})).await.error(403, "M_FORBIDDEN");
        alice.post(room_path(&room_id, "invite")).json(&json!({ "user_id": bob.id })).await.ok();
        bob.join(&room_id).await;
        bob.send_text(&room_id, "thank you").await;
        bob.post(room_path(&room_id, "leave")).json(&json!({})).await.ok();
        alice.post(room_path(&room_id, "kick")).json(&json!({ "user_id": bob.id })).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_is_forgotten_at_one_server_is_forgotten_at_the_other() {
    let nodes = Nodes::start(2).await;
    let (alice, bob, room_id) = room_of_two(&nodes).await;
    let there = nodes.at(0, &bob);
    there.sync(None, 0).await;
    alice.send_text(&room_id, "before").await;
    bob.post(room_path(&room_id, "leave")).json(&json!({})).await.ok();
    let mut sees = Follower::start(nodes.at(0, &bob)).await;
    bob.post(room_path(&room_id, "forget")).json(&json!({})).await.ok();
    alice.send_text(&room_id, "after").await;
    bob.create_room(&json!({ "name": "another" })).await;
    sees.sees("the other room", |answer: &Value| {
        let rooms = answer["rooms"]["join"].as_object()?;
        (!rooms.is_empty()).then_some(())
    })
    .await;
    let path =
        "/_matrix/client/v3/sync?timeout=0&filter=".to_owned() + &path_segment(r#"{"room":{"include_leave":true}}"#);
    let first = there.get(path).await.ok();
    assert!(first["rooms"]["leave"][&room_id].is_null(), "{first}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_sent_to_both_servers_is_one_message() {
    let nodes = Nodes::start(2).await;
    let (alice, _, room_id) = room_of_two(&nodes).await;
    for round in 0..10 {
        let path = room_path(&room_id, &format!("send/m.room.message/twice{round}"));
        let message = json!({ "msgtype": "m.text", "body": format!("once {round}") });
        let send = |server: usize| nodes.at(server, &alice).put(&path).json(&message).into_future();
        let (first, second, third, fourth) = tokio::join!(send(0), send(1), send(0), send(1));
        let ids = [first, second, third, fourth].map(|answer| answer.ok()["event_id"].as_str().unwrap().to_owned());
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        // Later, at the server that did not take it.
        for server in 0..2 {
            assert_eq!(send(server).await.ok()["event_id"], ids[0]);
        }
    }
    let messages = alice.get(room_path(&room_id, "messages?dir=b&limit=100")).await.ok();
    let bodies: Vec<_> =
        messages["chunk"].as_array().unwrap().iter().filter_map(|event| event["content"]["body"].as_str()).collect();
    assert_eq!(bodies.len(), 10, "{bodies:?}");
}

/// The server that takes the message learns of the join in the same moment in which it builds the message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_unread_for_a_member_who_joined_at_another_server_a_moment_before() {
    let nodes = Nodes::start(2).await;
    let alice = nodes.servers[0].register("alice").await;
    let bob = nodes.servers[1].register("bob").await;
    let mut bob_sees = Follower::start(nodes.at(1, &bob)).await;
    for round in 0..10 {
        let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
        alice.send_text(&room_id, "nobody is here").await;
        nodes.servers[0].signal(Signal::STOP);
        bob.join(&room_id).await;
        let path = room_path(&room_id, "send/m.room.message/welcome");
        let welcome = json!({ "msgtype": "m.text", "body": format!("welcome {round}") });
        let sending = tokio::spawn(alice.put(path).json(&welcome).into_future());
        // The request waits in the socket of the suspended process.
        tokio::time::sleep(Duration::from_millis(50)).await;
        nodes.servers[0].signal(Signal::CONT);
        soon("the answer", sending).await.unwrap().ok();
        let room = bob_sees.sees_message(&room_id, &format!("welcome {round}")).await;
        assert_eq!(room["unread_notifications"]["notification_count"], 1, "{room}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_rooms_are_made_at_once_at_both_servers() {
    let nodes = Nodes::start(2).await;
    let alice = nodes.servers[0].register("alice").await;
    for _ in 0..10 {
        let make = |server: usize| {
            nodes.at(server, &alice).post("/_matrix/client/v3/createRoom").json(&json!({})).into_future()
        };
        let (first, second) = tokio::join!(make(0), make(1));
        assert_ne!(first.ok()["room_id"], second.ok()["room_id"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_changes_servers_misses_nothing_and_starts_no_new() {
    let nodes = Nodes::start(3).await;
    let (alice, bob, room_id) = room_of_two(&nodes).await;
    let mut sees = Follower::start(nodes.at(1, &bob)).await;
    for round in 0..30 {
        let body = format!("round {round}");
        let path = room_path(&room_id, &format!("send/m.room.message/{round}"));
        let message = json!({ "msgtype": "m.text", "body": body });
        nodes.at(round % 3, &alice).put(path).json(&message).await.ok();
        sees.go_to(nodes.at((round + 1) % 3, &bob));
        let room = sees.sees_message(&room_id, &body).await;
        // Only what is new, and not the whole room again.
        assert_eq!(room["timeline"]["events"].as_array().unwrap().len(), 1, "{room}");
    }
}
