//! Devices at several servers: each message once, each key once, and the same counts everywhere.

use std::collections::HashSet;

use serde_json::{Value, json};
use testing::User;

use crate::world::{Follower, Nodes, room_of_two};

const V3: &str = "/_matrix/client/v3";

async fn upload(user: &User, body: Value) {
    user.post(format!("{V3}/keys/upload")).json(&body).await.ok();
}

fn one_time_keys(count: usize) -> Value {
    let key = |number: usize| (format!("signed_curve25519:K{number:03}"), json!({ "key": "x", "signatures": {} }));
    Value::Object((0..count).map(key).collect())
}

fn one_time_key_count(answer: &Value) -> Option<i64> {
    answer["device_one_time_keys_count"]["signed_curve25519"].as_i64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_reach_a_device_once_and_in_order_wherever_it_asks() {
    let nodes = Nodes::start(2).await;
    let (alice, bob, _) = room_of_two(&nodes).await;
    let mut device = Follower::start(nodes.at(1, &bob)).await;
    let mut seen = Vec::new();
    for number in 0..20_usize {
        // The device goes from server to server; so does the sender.
        device.go_to(nodes.at(number % 2, &bob));
        let path = format!("{V3}/sendToDevice/m.test/{number}");
        let messages = json!({ "messages": { &bob.id: { "*": { "number": number } } } });
        nodes.at((number / 2) % 2, &alice).put(path).json(&messages).await.ok();
        let numbers = |answer: &Value| {
            let events = answer["to_device"]["events"].as_array()?;
            Some(events.iter().map(|event| event["content"]["number"].as_u64().unwrap()).collect::<Vec<u64>>())
        };
        seen.extend(device.sees("the message", numbers).await);
    }
    assert_eq!(seen, (0..20).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_given_out_once_whoever_is_asked_and_all_count_the_same() {
    const KEYS: usize = 50;
    const DEVICES: usize = 32;
    const CLIENTS: usize = 64;
    let nodes = Nodes::start(2).await;
    let alice = nodes.servers[0].register("alice").await;
    let names: Vec<String> = (0..DEVICES).map(|number| format!("device{number}")).collect();
    let owners = names.iter().enumerate().map(|(number, name)| nodes.servers[number % 2].register(name));
    let owners = futures::future::join_all(owners).await;
    let last = json!({ "signed_curve25519:F": { "key": "x", "fallback": true, "signatures": {} } });
    let keys = json!({ "one_time_keys": one_time_keys(KEYS), "fallback_keys": last });
    futures::future::join_all(owners.iter().map(|owner| upload(owner, keys.clone()))).await;
    let of_all = owners.iter().map(|owner| (owner.id.clone(), json!({ &owner.device_id: "signed_curve25519" })));
    let wanted = json!({ "one_time_keys": serde_json::Map::from_iter(of_all) });
    let claimants = [nodes.at(0, &alice), nodes.at(1, &alice)];
    let claims =
        (0..CLIENTS).map(|number| claimants[number % 2].post(format!("{V3}/keys/claim")).json(&wanted).into_future());
    let answers: Vec<Value> = futures::future::join_all(claims).await.into_iter().map(testing::Answer::ok).collect();
    for owner in &owners {
        let given = |answer: &Value| {
            let keys = answer["one_time_keys"][&owner.id][&owner.device_id].as_object().unwrap();
            keys.keys().next().unwrap().clone()
        };
        let names: Vec<String> = answers.iter().map(given).collect();
        let (last, once): (Vec<String>, Vec<String>) =
            names.into_iter().partition(|name| name == "signed_curve25519:F");
        assert_eq!((once.len(), last.len()), (KEYS, CLIENTS - KEYS), "{}", owner.id);
        assert_eq!(once.into_iter().collect::<HashSet<_>>().len(), KEYS, "a key of {} was given out twice", owner.id);
    }
    for node in 0..2 {
        assert_eq!(one_time_key_count(&nodes.at(node, &owners[0]).sync(None, 0).await), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_keys_are_told_and_shown_at_every_server() {
    let nodes = Nodes::start(2).await;
    let (alice, bob, _) = room_of_two(&nodes).await;
    let (at_first, at_second) = (nodes.at(0, &alice), nodes.at(1, &alice));
    let mut reader = Follower::start(nodes.at(1, &alice)).await;
    for round in 0..3 {
        let keys = json!({ "user_id": bob.id, "device_id": bob.device_id, "algorithms": [], "signatures": {},
            "keys": { "ed25519:x": format!("{round}") } });
        upload(&bob, json!({ "device_keys": keys })).await;
        let is_told = |answer: &Value| {
            answer["device_lists"]["changed"]
                .as_array()
                .is_some_and(|users| users.contains(&json!(bob.id)))
                .then_some(())
        };
        reader.sees("the change", is_told).await;
        for user in [&at_second, &at_first] {
            let wanted = json!({ "device_keys": { &bob.id: [] } });
            let shown = user.post(format!("{V3}/keys/query")).json(&wanted).await.ok();
            assert_eq!(shown["device_keys"][&bob.id][&bob.device_id]["keys"]["ed25519:x"], format!("{round}"));
        }
    }
}
