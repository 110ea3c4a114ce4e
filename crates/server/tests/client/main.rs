//! The client-server API over HTTP, on both databases, laid out as its paths are.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly in the functions around it too"
)]

mod account;
mod account_data;
mod bad_input;
mod cross_signing;
mod dehydrated_devices;
mod device_lists;
mod devices;
mod ending_sessions;
mod erasure;
mod filter;
mod guests;
mod keys;
mod login;
mod media;
mod moderation;
mod names;
mod presence;
mod profile;
mod push_rules;
mod reading_messages;
mod reading_state;
mod receipts;
mod redactions;
mod refresh;
mod register;
mod relations;
mod rendezvous;
mod room_keys;
mod rooms_create;
mod rooms_directory;
mod rooms_hierarchy;
mod rooms_membership;
mod rooms_partial;
mod rooms_send;
mod rooms_upgrade;
mod search;
mod send_to_device;
mod server;
mod sync;
mod tags;
mod typing;
mod unread;
mod user_directory;

use serde_json::{Value, json};
use testing::{Answer, Client};

/// Where almost all of the API is.
const V3: &str = "/_matrix/client/v3";

/// Logs in with the password that [`User::register`] gives.
async fn log_in(client: &Client, name: &str, further: Value) -> Answer {
    let mut body = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": name },
        "password": password_of(name),
    });
    body.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    client.post(format!("{V3}/login")).json(&body).await
}

fn password_of(name: &str) -> String {
    format!("password of {name}")
}

/// The `auth` by which a user proves to know the password.
fn password_stage(name: &str, password: &str) -> Value {
    json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": name }, "password": password })
}

async fn whoami(client: &Client, token: &Value) -> Answer {
    client.get(format!("{V3}/account/whoami")).token(token.as_str().unwrap()).await
}
