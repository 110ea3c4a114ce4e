//! A user of the other server in a room of this one.

use std::cell::RefCell;

use http::Method;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use testing::{Answer, RemoteServer, TestServer, User, path_segment};

/// `@bob:remote.example` in a room of this server, of version 11.
pub(crate) struct RemoteUser<'a> {
    server: &'a TestServer,
    pub(crate) remote: &'a RemoteServer,
    pub(crate) room_id: String,
    /// What bob's server knows of the state: event IDs by type and state key.
    pub(crate) state: RefCell<Vec<(String, String, String)>>,
    /// The last event, and its depth.
    last: RefCell<(String, i64)>,
    sent: RefCell<usize>,
}

pub(crate) const BOB: &str = "@bob:remote.example";

impl<'a> RemoteUser<'a> {
    /// Has bob join a new public room of `alice`.
    pub(crate) async fn join(server: &'a TestServer, remote: &'a RemoteServer, alice: &User) -> Self {
        let room_id = alice.create_room(&json!({ "preset": "public_chat", "room_version": "11" })).await;
        Self::join_room(server, remote, room_id).await
    }

    pub(crate) async fn join_room(server: &'a TestServer, remote: &'a RemoteServer, room_id: String) -> Self {
        let room = path_segment(&room_id);
        let uri = format!("/_matrix/federation/v1/make_join/{room}/{}?ver=11", path_segment(BOB));
        let authorization = remote.authorization("localhost", &uri);
        let template = server.client().get(&uri).header(AUTHORIZATION, &authorization).await.ok();
        let (event_id, event) = remote.signed_event(&template["event"]);
        let uri = format!("/_matrix/federation/v2/send_join/{room}/{}", path_segment(&event_id));
        let answer = put(server, remote, &uri, &event).await.ok();
        let mut state = Vec::new();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        for event in answer["state"].as_array().unwrap() {
            let (id, _) = remote.signed_event(event);
            state.push((text(&event["type"]), text(&event["state_key"]), id));
        }
        state.push(("m.room.member".to_owned(), BOB.to_owned(), event_id.clone()));
        let last = RefCell::new((event_id, event["depth"].as_i64().unwrap()));
        Self { server, remote, room_id, state: RefCell::new(state), last, sent: RefCell::default() }
    }

    /// An event of bob's that follows the one before it.
    pub(crate) fn event(&self, event_type: &str, state_key: Option<&str>, content: &Value) -> (String, Value) {
        let state = self.state.borrow();
        let named = |kind: &str, key: &str| state.iter().rev().find(|(t, k, _)| t == kind && k == key).map(|it| &it.2);
        let auth_events: Vec<&String> = [("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", BOB)]
            .into_iter()
            .filter_map(|(kind, key)| named(kind, key))
            .collect();
        let (last, depth) = self.last.borrow().clone();
        let mut event = json!({
            "type": event_type, "room_id": self.room_id, "sender": BOB, "content": content, "depth": depth + 1,
            "prev_events": [last], "auth_events": auth_events, "origin_server_ts": 1_700_000_000_000_i64 + depth,
        });
        if let Some(state_key) = state_key {
            event["state_key"] = json!(state_key);
        }
        let (id, event) = self.remote.signed_event(&event);
        drop(state);
        if let Some(state_key) = state_key {
            self.state.borrow_mut().push((event_type.to_owned(), state_key.to_owned(), id.clone()));
        }
        *self.last.borrow_mut() = (id.clone(), depth + 1);
        (id, event)
    }

    pub(crate) fn message(&self, body: &str) -> (String, Value) {
        self.event("m.room.message", None, &json!({ "msgtype": "m.text", "body": body }))
    }

    /// Sends events in a transaction of their own.
    pub(crate) async fn send(&self, pdus: &[&Value]) -> Value {
        *self.sent.borrow_mut() += 1;
        let id = format!("t{}", self.sent.borrow());
        self.transaction(&id, &json!({ "pdus": pdus })).await.ok()["pdus"].clone()
    }

    pub(crate) async fn transaction(&self, id: &str, body: &Value) -> Answer {
        let mut body = body.clone();
        body["origin"] = json!("remote.example");
        body["origin_server_ts"] = json!(1);
        put(self.server, self.remote, &format!("/_matrix/federation/v1/send/{id}"), &body).await
    }
}

async fn put(server: &TestServer, remote: &RemoteServer, uri: &str, body: &Value) -> Answer {
    let authorization = remote.authorization_of(&Method::PUT, "localhost", uri, Some(body));
    server.client().put(uri).header(AUTHORIZATION, &authorization).json(body).await
}
