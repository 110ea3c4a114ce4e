//! People on a test server.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::client::{Client, Request, path_segment};

/// Somebody with an account and an access token.
pub struct User {
    /// The full user ID.
    pub id: String,
    /// The device that the token belongs to.
    pub device_id: String,
    /// The access token.
    pub token: String,
    client: Client,
    transactions: AtomicU64,
}

impl User {
    /// Makes an account by open registration, in the two steps of
    /// [user-interactive authentication](https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api).
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn register(client: &Client, name: &str) -> Self {
        let path = "/_matrix/client/v3/register";
        let wanted = json!({ "username": name, "password": format!("password of {name}") });
        let challenge = client.post(path).json(&wanted).await;
        assert_eq!(challenge.status, 401, "{challenge}");

        let mut complete = wanted;
        complete["auth"] = json!({ "type": "m.login.dummy", "session": challenge.json["session"] });
        let account = client.post(path).json(&complete).await.ok();
        Self {
            id: text(&account, "user_id"),
            device_id: text(&account, "device_id"),
            token: text(&account, "access_token"),
            client: client.clone(),
            transactions: AtomicU64::new(0),
        }
    }

    /// A new session of an account that was made by [`register`](Self::register).
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn log_in(client: &Client, name: &str) -> Self {
        let identifier = json!({ "type": "m.id.user", "user": name });
        let password = format!("password of {name}");
        let login = json!({ "type": "m.login.password", "identifier": identifier, "password": password });
        let session = client.post("/_matrix/client/v3/login").json(&login).await.ok();
        Self {
            id: text(&session, "user_id"),
            device_id: text(&session, "device_id"),
            token: text(&session, "access_token"),
            client: client.clone(),
            transactions: AtomicU64::new(0),
        }
    }

    /// The same person at a server that was started again, and may have another address.
    #[must_use]
    pub fn at(&self, client: &Client) -> Self {
        Self {
            id: self.id.clone(),
            device_id: self.device_id.clone(),
            token: self.token.clone(),
            client: client.clone(),
            transactions: AtomicU64::new(self.transactions.load(Ordering::Relaxed)),
        }
    }

    /// A GET request with this user's token.
    pub fn get(&self, path: impl AsRef<str>) -> Request {
        self.client.get(path).token(&self.token)
    }

    /// A POST request with this user's token.
    pub fn post(&self, path: impl AsRef<str>) -> Request {
        self.client.post(path).token(&self.token)
    }

    /// A PUT request with this user's token.
    pub fn put(&self, path: impl AsRef<str>) -> Request {
        self.client.put(path).token(&self.token)
    }

    /// A DELETE request with this user's token.
    pub fn delete(&self, path: impl AsRef<str>) -> Request {
        self.client.delete(path).token(&self.token)
    }

    /// Makes a room as `request` describes it and returns its ID.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn create_room(&self, request: &Value) -> String {
        text(&self.post("/_matrix/client/v3/createRoom").json(request).await.ok(), "room_id")
    }

    /// Joins the room with this ID or alias.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn join(&self, room: &str) {
        let joined = self.post(format!("/_matrix/client/v3/join/{}", path_segment(room))).json(&json!({})).await;
        assert!(joined.ok()["room_id"].is_string());
    }

    /// Sends a text message and returns its event ID.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn send_text(&self, room_id: &str, body: &str) -> String {
        let transaction = self.transactions.fetch_add(1, Ordering::Relaxed);
        let room_id = path_segment(room_id);
        let path = format!("/_matrix/client/v3/rooms/{room_id}/send/m.room.message/{transaction}");
        let sent = self.put(path).json(&json!({ "msgtype": "m.text", "body": body })).await;
        text(&sent.ok(), "event_id")
    }

    /// What is new since the token `since`, or everything; waits at most `timeout_ms` for something new.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn sync(&self, since: Option<&str>, timeout_ms: u64) -> Value {
        let since = since.map_or_else(String::new, |since| format!("&since={}", path_segment(since)));
        self.get(format!("/_matrix/client/v3/sync?timeout={timeout_ms}{since}")).await.ok()
    }
}

#[track_caller]
fn text(json: &Value, key: &str) -> String {
    json[key].as_str().unwrap_or_else(|| panic!("no text `{key}` in {json}")).to_owned()
}
