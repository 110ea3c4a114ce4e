//! Limits on how often things are done and on how much heavy work runs at once, over HTTP, on both databases.
//!
//! Where something is to be refused, the rate is less than one an hour: no machine is slow enough to be let through. Where it is
//! to be possible again, the test waits for as long as the server said.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly in the functions around it too"
)]

mod addresses;
mod heavy_work;
mod logins;
mod overrides;
mod reloading;
mod rooms;
mod waiting;

use serde_json::{Value, json};
use testing::{Answer, Client, Setting, TestDatabase, TestServer, User};
use toml::Table;

const V3: &str = "/_matrix/client/v3";

/// Limits that no test reaches.
const HIGH: &str = "
    enabled = true
    message = { per_second = 1000000, burst = 100000 }
    registration = { per_second = 1000000, burst = 100000 }
    registration_available = { per_second = 1000000, burst = 100000 }
    registration_token_validity = { per_second = 1000000, burst = 100000 }
    interactive_auth = { per_second = 1000000, burst = 100000 }
    joins_per_room = { per_second = 1000000, burst = 100000 }
    room_creation = { per_second = 1000000, burst = 100000 }
    room_directory = { per_second = 1000000, burst = 100000 }
    user_directory = { per_second = 1000000, burst = 100000 }
    [login]
    address = { per_second = 1000000, burst = 100000 }
    account = { per_second = 1000000, burst = 100000 }
    failed_attempts = { per_second = 1000000, burst = 100000 }
    [joins]
    local = { per_second = 1000000, burst = 100000 }
    remote = { per_second = 1000000, burst = 100000 }
    [invites]
    per_room = { per_second = 1000000, burst = 100000 }
    per_user = { per_second = 1000000, burst = 100000 }
    per_issuer = { per_second = 1000000, burst = 100000 }
";

/// The section with one limit that is low: `burst` at once and then `per_second`.
fn only(key: &str, per_second: f64, burst: i64) -> Table {
    let mut limits: Table = HIGH.parse().unwrap();
    let rate: Table = format!("per_second = {per_second}\nburst = {burst}").parse().unwrap();
    match key.split_once('.') {
        Some((section, key)) => limits[section].as_table_mut().unwrap().insert(key.to_owned(), rate.into()),
        None => limits.insert(key.to_owned(), rate.into()),
    };
    limits
}

/// So often at once, and then hardly ever.
fn at_once(key: &str, burst: i64) -> Table {
    only(key, 0.0002, burst)
}

fn settings(limits: &Table) -> Vec<Setting<'_>> {
    limits.iter().map(|(key, value)| ("rate_limits", key.as_str(), value.clone())).collect()
}

async fn server_with(db: &TestDatabase, limits: &Table) -> TestServer {
    TestServer::start_with(db, &settings(limits)).await
}

/// The answer is a 429 with all hints. Returns when to come back, in milliseconds.
#[track_caller]
fn refused(answer: Answer) -> u64 {
    let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    let body = answer.error(429, "M_LIMIT_EXCEEDED");
    let retry_after_ms = body["retry_after_ms"].as_u64().unwrap();
    assert!(retry_after_ms > 0 && seconds == retry_after_ms.div_ceil(1000), "{seconds} s for {body}");
    assert!(body["error"].as_str().unwrap().ends_with("wait before the next one"), "{body}");
    retry_after_ms
}

async fn log_in(client: &Client, name: &str, password: &str) -> Answer {
    let identifier = json!({ "type": "m.id.user", "user": name });
    let body = json!({ "type": "m.login.password", "identifier": identifier, "password": password });
    client.post(format!("{V3}/login")).json(&body).await
}

async fn send(user: &User, room: &str, transaction: &str) -> Answer {
    let path = format!("{V3}/rooms/{room}/send/m.room.message/{transaction}");
    user.put(path).json(&json!({ "msgtype": "m.text", "body": "hello" })).await
}

async fn join(user: &User, room: &str) -> Answer {
    user.post(format!("{V3}/rooms/{room}/join")).json(&json!({})).await
}

async fn invite(user: &User, room: &str, target: &str) -> Answer {
    user.post(format!("{V3}/rooms/{room}/invite")).json(&json!({ "user_id": target })).await
}

async fn create_room(user: &User, wish: Value) -> Answer {
    user.post(format!("{V3}/createRoom")).json(&wish).await
}

async fn public_room(user: &User) -> String {
    user.create_room(&json!({ "preset": "public_chat" })).await
}
