//! `/sync`

mod content;
mod filters;
mod forms;
mod ignoring;
mod members;
mod rooms;
mod timelines;
mod waiting;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testing::{Answer, TestDatabase, TestServer, User, path_segment};

use crate::V3;

async fn get(user: &User, query: &str) -> Answer {
    user.get(format!("{V3}/sync?{query}")).await
}

async fn sync(user: &User, query: &str) -> Value {
    get(user, query).await.ok()
}

async fn filtered(user: &User, filter: &Value, query: &str) -> Value {
    sync(user, &format!("filter={}&{query}", path_segment(&filter.to_string()))).await
}

/// The token up to which the user has seen everything by now.
async fn token(user: &User) -> String {
    next(&user.sync(None, 0).await).to_owned()
}

fn next(answer: &Value) -> &str {
    answer["next_batch"].as_str().unwrap()
}

/// An answer that tells nothing but where the next one goes on, and that the device has no keys.
fn nothing_but(next_batch: &str) -> Value {
    json!({
        "next_batch": next_batch,
        "device_one_time_keys_count": { "signed_curve25519": 0 },
        "device_unused_fallback_key_types": [],
    })
}

fn joined<'a>(answer: &'a Value, room: &str) -> &'a Value {
    let joined = &answer["rooms"]["join"][room];
    assert!(joined.is_object(), "{room} is not joined in {answer}");
    joined
}

fn left<'a>(answer: &'a Value, room: &str) -> &'a Value {
    let left = &answer["rooms"]["leave"][room];
    assert!(left.is_object(), "{room} is not left in {answer}");
    left
}

fn timeline(room: &Value) -> &Vec<Value> {
    room["timeline"]["events"].as_array().unwrap()
}

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event_id"].as_str().unwrap()).collect()
}

fn bodies(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

/// Types and state keys of the events in `state` or `state_after`.
fn keys(state: &Value) -> BTreeSet<(&str, &str)> {
    let events = state["events"].as_array().unwrap();
    let found: BTreeSet<_> =
        events.iter().map(|event| (event["type"].as_str().unwrap(), event["state_key"].as_str().unwrap())).collect();
    assert_eq!(found.len(), events.len(), "one event for each key: {state}");
    found
}

/// The users of the membership events in `state`.
fn members(state: &Value) -> BTreeSet<&str> {
    keys(state).into_iter().filter(|(event_type, _)| *event_type == "m.room.member").map(|(_, user)| user).collect()
}

fn heroes(room: &Value) -> Vec<&str> {
    room["summary"]["m.heroes"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

async fn act(user: &User, room: &str, action: &str, body: Value) {
    let path = format!("{V3}/rooms/{}/{action}", path_segment(room));
    assert!(user.post(path).json(&body).await.ok().is_object());
}

async fn set(user: &User, room: &str, event_type: &str, content: Value) -> String {
    let path = format!("{V3}/rooms/{}/state/{event_type}/", path_segment(room));
    user.put(path).json(&content).await.ok()["event_id"].as_str().unwrap().to_owned()
}

async fn topic(user: &User, room: &str, topic: &str) -> String {
    set(user, room, "m.room.topic", json!({ "topic": topic })).await
}

async fn send_texts(user: &User, room: &str, count: usize) -> Vec<String> {
    let mut sent = Vec::with_capacity(count);
    for number in 0..count {
        sent.push(user.send_text(room, &number.to_string()).await);
    }
    sent
}

async fn redact(user: &User, room: &str, event_id: &str) -> String {
    let path = format!("{V3}/rooms/{}/redact/{}/1", path_segment(room), path_segment(event_id));
    user.put(path).json(&json!({ "reason": "r" })).await.ok()["event_id"].as_str().unwrap().to_owned()
}

/// What a device hears since a token from a server that was just started, and so has nothing of it in memory.
async fn after_start(db: &TestDatabase, user: &User, query: &str) -> Value {
    let again = TestServer::start(db).await;
    let answer = again.client().get(format!("{V3}/sync?{query}")).token(&user.token).await.ok();
    again.shutdown().await;
    answer
}
