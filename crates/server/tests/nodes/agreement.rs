//! All servers show the same events in the same order, and none is lost or doubled, however writes are spread over servers.

use std::collections::BTreeSet;

use futures::future::join_all;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use testing::{User, eventually, path_segment};

use crate::world::{Nodes, room_path};

const SERVERS: usize = 3;
const SENDERS: usize = 9;
const MESSAGES: usize = 25;

/// All messages of a room as `/messages` tells them, the oldest first.
async fn messages(user: &User, room_id: &str) -> Vec<String> {
    let (mut found, mut from) = (Vec::new(), String::new());
    loop {
        let page = user.get(room_path(room_id, &format!("messages?dir=b&limit=100{from}"))).await.ok();
        let ids = page["chunk"].as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap().to_owned());
        found.extend(ids);
        match page["end"].as_str() {
            Some(end) => from = format!("&from={}", path_segment(end)),
            None => break,
        }
    }
    found.reverse();
    found
}

/// A token after all senders have joined. This server learns of joins at another one a moment later.
async fn since_all_have_joined(alice: &User, room_id: &str) -> String {
    let joined = async || {
        let answer = alice.sync(None, 0).await;
        let room = &answer["rooms"]["join"][room_id];
        let events = [&room["state"], &room["timeline"]].map(|part| part["events"].as_array().unwrap().clone());
        let members = events.iter().flatten().filter(|event| event["content"]["membership"] == "join");
        let members: BTreeSet<_> = members.map(|event| event["state_key"].as_str().unwrap()).collect();
        (members.len() > SENDERS).then(|| answer["next_batch"].as_str().unwrap().to_owned())
    };
    eventually("the joins", joined).await
}

/// All events of a room as `/sync` tells them, step by step from a token on.
async fn followed(user: &User, room_id: &str, since: &str, until: &str) -> Vec<String> {
    let filter = path_segment(r#"{"room":{"timeline":{"limit":500}}}"#);
    let (mut found, mut since) = (Vec::new(), since.to_owned());
    while !found.iter().any(|id| id == until) {
        let path = format!("/_matrix/client/v3/sync?timeout=20000&filter={filter}&since={}", path_segment(&since));
        let answer = user.get(path).await.ok();
        let room = &answer["rooms"]["join"][room_id];
        assert_ne!(room["timeline"]["limited"], true, "{room}");
        let events = room["timeline"]["events"].as_array();
        found.extend(events.into_iter().flatten().map(|event| event["event_id"].as_str().unwrap().to_owned()));
        answer["next_batch"].as_str().unwrap().clone_into(&mut since);
    }
    found
}

/// Sends messages, and now and then something else, by any of the servers. Repeats some of it at another server.
async fn send(nodes: &Nodes, user: &User, room_id: &str, number: usize, mut random: StdRng) -> Vec<String> {
    let mut sent = Vec::new();
    for count in 0..MESSAGES {
        let server = random.random_range(0..SERVERS);
        let (path, content) = match random.random_range(0..8) {
            0 => {
                let rest = format!("state/org.example.state/{number}");
                (room_path(room_id, &rest), json!({ "count": count }))
            }
            _ => {
                let rest = format!("send/m.room.message/{number}-{count}");
                (room_path(room_id, &rest), json!({ "msgtype": "m.text", "body": format!("{number} {count}") }))
            }
        };
        let is_state = path.contains("/state/");
        let answer = nodes.at(server, user).put(&path).json(&content).await.ok();
        let event_id = answer["event_id"].as_str().unwrap().to_owned();
        if !is_state && random.random_ratio(1, 4) {
            let other = random.random_range(0..SERVERS);
            let again = nodes.at(other, user).put(&path).json(&content).await.ok();
            assert_eq!(again["event_id"], *event_id);
        }
        sent.push(event_id);
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_agree_on_what_is_written_at_once_into_one_room() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let nodes = Nodes::start(SERVERS).await;
    let alice = nodes.servers[0].register("alice").await;
    let users = join_all((0..SENDERS).map(|number| {
        let client = nodes.servers[number % SERVERS].client();
        async move { User::register(&client, &format!("sender{number}")).await }
    }))
    .await;
    let levels = json!({ "state_default": 0 });
    let wanted = json!({ "preset": "public_chat", "power_level_content_override": levels });
    let room_id = alice.create_room(&wanted).await;
    join_all(users.iter().map(|user| user.join(&room_id))).await;
    let since = since_all_have_joined(&alice, &room_id).await;

    let senders = users.iter().enumerate().map(|(number, user)| {
        let random = StdRng::seed_from_u64(seed ^ number as u64);
        send(&nodes, user, &room_id, number, random)
    });
    let sent: Vec<String> = join_all(senders).await.into_iter().flatten().collect();
    let last = alice.send_text(&room_id, "the end").await;

    let mut tellings = Vec::new();
    for server in 0..SERVERS {
        let alice = nodes.at(server, &alice);
        tellings.push(followed(&alice, &room_id, &since, &last).await);
        let all = messages(&alice, &room_id).await;
        let first = all.iter().position(|id| *id == tellings[server][0]).unwrap();
        assert_eq!(all[first..], tellings[server], "/messages and /sync of server {server}");
    }
    assert_eq!(tellings[0], tellings[1]);
    assert_eq!(tellings[0], tellings[2]);
    for event_id in &sent {
        assert_eq!(tellings[0].iter().filter(|id| *id == event_id).count(), 1, "{event_id}");
    }
    // What a state event that changes nothing is answered with may have been sent before.
    assert!(tellings[0].len() <= sent.len() + 1);

    let state = async |server: usize| {
        let state = nodes.at(server, &alice).get(room_path(&room_id, "state")).await.ok();
        let mut state: Vec<Value> = state.as_array().unwrap().clone();
        // An age grows.
        state.iter_mut().for_each(|event| drop(event.as_object_mut().unwrap().remove("unsigned")));
        state.sort_by_key(|event| event["event_id"].as_str().unwrap().to_owned());
        state
    };
    assert_eq!(state(0).await, state(1).await);
    assert_eq!(state(0).await, state(2).await);
    let checked = nodes.servers[0].run(&["room", "check", &room_id]).await;
    assert!(checked.status.success(), "{checked:?}");
}
