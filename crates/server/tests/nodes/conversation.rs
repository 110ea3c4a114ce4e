//! Two people at two servers: everything that one does the other one sees.

use serde_json::{Value, json};
use testing::{User, eventually, path_segment};

use crate::world::{Follower, Nodes, room_of_two, room_path};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_at_two_servers_talk() {
    let nodes = Nodes::start(2).await;
    let (alice, bob, room_id) = room_of_two(&nodes).await;
    let mut alice_sees = Follower::start(nodes.at(0, &alice)).await;
    let mut bob_sees = Follower::start(nodes.at(1, &bob)).await;
    for round in 0..10 {
        let (question, answer) = (format!("question {round}"), format!("answer {round}"));
        alice.send_text(&room_id, &question).await;
        bob_sees.sees_message(&room_id, &question).await;
        bob.send_text(&room_id, &answer).await;
        alice_sees.sees_message(&room_id, &answer).await;
    }
    // The state, with what the profile says.
    let path = format!("/_matrix/client/v3/profile/{}/displayname", alice.id);
    alice.put(path).json(&json!({ "displayname": "Alice in Wonderland" })).await.ok();
    let look = |answer: &Value| {
        let room = &answer["rooms"]["join"][&room_id];
        let events = room["timeline"]["events"].as_array()?;
        events.iter().any(|event| event["content"]["displayname"] == "Alice in Wonderland").then_some(())
    };
    bob_sees.sees("the new name", look).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unread_counts_the_same_at_every_server() {
    let nodes = Nodes::start(2).await;
    let (alice, bob, room_id) = room_of_two(&nodes).await;
    // Bob is at both servers, with a session at each, and knows the room at both.
    let mut here = Follower::start(nodes.at(1, &bob)).await;
    let mut there = Follower::start(nodes.at(0, &bob)).await;
    for count in 1..=5 {
        let body = format!("message {count}");
        let mentioned = if count == 3 { json!([bob.id]) } else { json!([]) };
        let message = json!({ "msgtype": "m.text", "body": body, "m.mentions": { "user_ids": mentioned } });
        let path = room_path(&room_id, &format!("send/m.room.message/m{count}"));
        alice.put(path).json(&message).await.ok();
        for follower in [&mut here, &mut there] {
            let unread = follower.sees_message(&room_id, &body).await["unread_notifications"].clone();
            assert_eq!(unread["notification_count"], count, "{body}");
            assert_eq!(unread["highlight_count"], i64::from(count >= 3), "{body}");
        }
    }
    // A redaction counts one less, and reading counts nothing.
    let last = alice.send_text(&room_id, "a mistake").await;
    for follower in [&mut here, &mut there] {
        let unread = follower.sees_message(&room_id, "a mistake").await["unread_notifications"].clone();
        assert_eq!(unread["notification_count"], 6);
    }
    let path = room_path(&room_id, &format!("redact/{}/1", testing::path_segment(&last)));
    alice.put(path).json(&json!({})).await.ok();
    let counted =
        |answer: &Value| answer["rooms"]["join"][&room_id]["unread_notifications"]["notification_count"].as_i64();
    for follower in [&mut here, &mut there] {
        assert_eq!(follower.sees("the redaction", counted).await, 5);
    }
    let path = room_path(&room_id, &format!("receipt/m.read/{}", testing::path_segment(&last)));
    nodes.at(0, &bob).post(path).json(&json!({})).await.ok();
    for follower in [&mut here, &mut there] {
        follower.sees("nothing unread", |answer| (counted(answer)? == 0).then_some(())).await;
    }
    alice.send_text(&room_id, "the next one").await;
    for follower in [&mut here, &mut there] {
        let unread = follower.sees_message(&room_id, "the next one").await["unread_notifications"].clone();
        assert_eq!(unread["notification_count"], 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_types_and_who_has_read_is_told_at_every_server() {
    let nodes = Nodes::start(2).await;
    let (alice, bob, room_id) = room_of_two(&nodes).await;
    let mut bob_sees = Follower::start(nodes.at(1, &bob)).await;
    let typing = room_path(&room_id, &format!("typing/{}", alice.id));
    let is_typing = |content: &Value| content["user_ids"] == json!([alice.id]);
    let is_silent = |content: &Value| content["user_ids"] == json!([]);
    alice.put(&typing).json(&json!({ "typing": true, "timeout": 30_000 })).await.ok();
    bob_sees.sees_ephemeral(&room_id, "m.typing", is_typing).await;
    // She stops at the other server, at once.
    nodes.at(1, &alice).put(&typing).json(&json!({ "typing": false })).await.ok();
    bob_sees.sees_ephemeral(&room_id, "m.typing", is_silent).await;
    alice.put(&typing).json(&json!({ "typing": true, "timeout": 30_000 })).await.ok();
    nodes.at(1, &alice).put(&typing).json(&json!({ "typing": false })).await.ok();
    bob_sees.sees_ephemeral(&room_id, "m.typing", is_silent).await;
    // It runs out.
    alice.put(&typing).json(&json!({ "typing": true, "timeout": 1_000 })).await.ok();
    bob_sees.sees_ephemeral(&room_id, "m.typing", is_typing).await;
    bob_sees.sees_ephemeral(&room_id, "m.typing", is_silent).await;

    let event_id = bob.send_text(&room_id, "read this").await;
    let receipt = room_path(&room_id, &format!("receipt/m.read/{}", testing::path_segment(&event_id)));
    alice.post(receipt).json(&json!({})).await.ok();
    let has_read = |content: &Value| content[&event_id]["m.read"][&alice.id].is_object();
    bob_sees.sees_ephemeral(&room_id, "m.receipt", has_read).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn account_data_and_push_rules_hold_at_every_server() {
    let nodes = Nodes::start(2).await;
    let (alice, bob, room_id) = room_of_two(&nodes).await;
    let mut here = Follower::start(nodes.at(1, &bob)).await;
    let mut there = Follower::start(nodes.at(0, &bob)).await;
    let path = format!("/_matrix/client/v3/user/{}/account_data/org.example.colour", bob.id);
    bob.put(path).json(&json!({ "colour": "green" })).await.ok();
    let look = |answer: &Value| {
        let events = answer["account_data"]["events"].as_array()?;
        events.iter().any(|event| event["content"]["colour"] == "green").then_some(())
    };
    here.sees("the account data", look).await;
    there.sees("the account data", look).await;

    // A muted room notifies nobody, wherever the rule was made and the message sent.
    let path = format!("/_matrix/client/v3/pushrules/global/room/{}", testing::path_segment(&room_id));
    bob.put(path).json(&json!({ "actions": [] })).await.ok();
    let look = |answer: &Value| {
        let events = answer["account_data"]["events"].as_array()?;
        events.iter().any(|event| event["type"] == "m.push_rules").then_some(())
    };
    there.sees("the push rules", look).await;
    alice.send_text(&room_id, "not heard").await;
    let room = there.sees_message(&room_id, "not heard").await;
    assert_eq!(room["unread_notifications"]["notification_count"], 0);

    // Nor is what somebody says told who is ignored.
    let path = format!("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", bob.id);
    bob.put(path).json(&json!({ "ignored_users": { (alice.id.clone()): {} } })).await.ok();
    there
        .sees("the ignored users", |answer| {
            let events = answer["account_data"]["events"].as_array()?;
            events.iter().any(|event| event["type"] == "m.ignored_user_list").then_some(())
        })
        .await;
    alice.send_text(&room_id, "ignored").await;
    bob.send_text(&room_id, "and this is told").await;
    let room = there.sees_message(&room_id, "and this is told").await;
    assert!(!room.to_string().contains("ignored"), "{room}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_there_is_told_at_every_server_and_does_not_flicker() {
    let presence = [
        ("presence", "enabled", true.into()),
        ("presence", "offline_after", "3s".into()),
        ("presence", "idle_after", "10m".into()),
    ];
    let nodes = Nodes::start_with(2, &presence).await;
    let (alice, bob, _) = room_of_two(&nodes).await;
    let mut bob_sees = Follower::start(nodes.at(1, &bob)).await;
    let state_of = |answer: &Value, user_id: &str| {
        let events = answer["presence"]["events"].as_array()?;
        let event = events.iter().rev().find(|event| event["sender"] == user_id)?;
        event["content"]["presence"].as_str().map(str::to_owned)
    };
    nodes.at(0, &alice).sync(None, 0).await;
    let is = |wanted: &'static str| move |state: String| (state == wanted).then_some(());
    bob_sees.sees("Alice online", |answer| state_of(answer, &alice.id).and_then(is("online"))).await;
    // Her client goes to and fro: nobody is told anything, for longer than either server believes that she is there.
    for round in 0..12 {
        nodes.at(round % 2, &alice).sync(None, 0).await;
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    }
    let path = format!("/_matrix/client/v3/presence/{}/status", alice.id);
    assert_eq!(bob.get(&path).await.ok()["presence"], "online");
    for _ in 0..6 {
        nodes.at(1, &alice).sync(None, 0).await;
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        assert_eq!(bob.get(&path).await.ok()["presence"], "online", "it flickers");
    }
    bob_sees
        .sees("Alice offline", |answer| state_of(answer, &alice.id).map(|state| assert_eq!(state, "offline")))
        .await;
}

/// A proxy sends each request of a client to another server, and what a device says last is what others see.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_device_says_at_one_server_replaces_what_it_said_at_another() {
    let presence = [("presence", "enabled", true.into()), ("presence", "offline_after", "10m".into())];
    let nodes = Nodes::start_with(2, &presence).await;
    let (alice, bob, _) = room_of_two(&nodes).await;
    let path = format!("/_matrix/client/v3/presence/{}/status", path_segment(&alice.id));
    let sees = async |wanted: &str| {
        let seen = async || {
            let seen = bob.get(&path).await.ok();
            (seen["presence"] == wanted).then_some(())
        };
        eventually(wanted, seen).await;
        // It stays, though the other server still knows what was said there before.
        tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
        assert_eq!(bob.get(&path).await.ok()["presence"], wanted, "it is taken back");
    };
    let sync = async |server: usize, presence: &str| {
        let path = format!("/_matrix/client/v3/sync?timeout=0&set_presence={presence}");
        nodes.at(server, &alice).get(path).await.ok();
    };
    let set = async |server: usize, presence: &str| {
        nodes.at(server, &alice).put(&path).json(&json!({ "presence": presence })).await.ok();
    };
    sync(0, "online").await;
    sees("online").await;
    sync(1, "unavailable").await;
    sees("unavailable").await;
    set(0, "online").await;
    sees("online").await;
    sync(1, "unavailable").await;
    sees("unavailable").await;
    sync(0, "online").await;
    sees("online").await;
    set(1, "offline").await;
    sees("offline").await;

    // Another device is there by itself.
    let second = User::log_in(&nodes.servers[1].client(), "alice").await;
    nodes.at(1, &second).sync(None, 0).await;
    sync(0, "unavailable").await;
    sees("online").await;
}
