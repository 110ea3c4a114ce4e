//! Somebody with a room, and the names that stand for them in the table of endpoints.

use std::cell::Cell;

use http::Method;
use serde_json::{Value, json};
use testing::{Client, Request, TestDatabase, TestServer, User, path_segment};
use toml::Value as Toml;

use crate::endpoints::Endpoint;

/// The shared secret of the test's server.
const SHARED_SECRET: &str = "a secret";

/// The smallest GIF there is.
const PICTURE: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// A server with some content.
pub(crate) struct World {
    server: TestServer,
    alice: User,
    bob: User,
    names: Vec<(&'static str, String)>,
    /// Makes transaction IDs, aliases and user names new.
    count: Cell<u32>,
}

/// One endpoint with everything filled in.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// With every parameter percent-encoded.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Option<Value>,
    client: Client,
    token: Option<String>,
}

impl World {
    pub(crate) async fn new(db: &TestDatabase) -> Self {
        let secret = ("registration", "shared_secret", Toml::from(SHARED_SECRET));
        let server = TestServer::start_with(
            db,
            &[
                secret,
                ("presence", "enabled", true.into()),
                // As many as there are wrong requests.
                ("media", "max_pending_uploads", 100_000.into()),
            ],
        )
        .await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room_id = alice.create_room(&json!({ "preset": "public_chat", "name": "a room" })).await;
        let event_id = alice.send_text(&room_id, "hello").await;
        let filter = format!("/_matrix/client/v3/user/{}/filter", path_segment(&alice.id));
        let filter_id = alice.post(filter).json(&json!({ "room": { "timeline": { "limit": 5 } } })).await.ok();
        let rule = "/_matrix/client/v3/pushrules/global/override/mine";
        alice.put(rule).json(&json!({ "actions": [] })).await.ok();
        let media = alice.post("/_matrix/media/v3/upload").body(PICTURE).await.ok();
        let media_id = media["content_uri"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let names = vec![
            ("{mediaId}", media_id),
            ("{fileName}", "a name.gif".to_owned()),
            ("{eventId}", event_id),
            ("{filterId}", filter_id["filter_id"].as_str().unwrap().to_owned()),
            ("{bobId}", bob.id.clone()),
            ("{kind}", "override".to_owned()),
            ("{ruleId}", "mine".to_owned()),
            ("{receiptType}", "m.read".to_owned()),
            ("{eventType}", "m.room.topic".to_owned()),
            ("{stateKey}", String::new()),
            ("{type}", "org.example.data".to_owned()),
            ("{relType}", "m.thread".to_owned()),
            ("{tag}", "u.work".to_owned()),
            ("{keyName}", "displayname".to_owned()),
            ("{mainRoomId}", room_id),
        ];
        Self { server, alice, bob, names, count: Cell::new(0) }
    }

    pub(crate) fn client(&self) -> Client {
        self.server.client()
    }

    pub(crate) fn alice(&self) -> &User {
        &self.alice
    }

    pub(crate) fn room_id(&self) -> &str {
        &self.names.iter().find(|(name, _)| *name == "{mainRoomId}").unwrap().1
    }

    fn number(&self) -> u32 {
        self.count.set(self.count.get() + 1);
        self.count.get()
    }

    /// The endpoint with valid parameters. What it uses up, such as a token or a membership, is made for this call.
    pub(crate) async fn call(&self, endpoint: &Endpoint) -> Call {
        let number = self.number();
        let fresh = match endpoint.uses_up_user() {
            true => Some(User::register(&self.client(), &format!("user{number}")).await),
            false => None,
        };
        let user = fresh.as_ref().unwrap_or(&self.alice);
        let name = user.id.trim_start_matches('@').split(':').next().unwrap();
        let mut names = self.names.clone();
        names.push(("{userId}", user.id.clone()));
        names.push(("{name}", name.to_owned()));
        names.push(("{password}", format!("password of {name}")));
        names.push(("{deviceId}", user.device_id.clone()));
        names.push(("{txnId}", number.to_string()));
        names.push(("{newName}", format!("new{number}")));
        names.push(("{roomAlias}", format!("#alias{number}:localhost")));
        let room_id = if endpoint.uses_up_room() {
            let room_id = user.create_room(&json!({ "preset": "public_chat" })).await;
            self.bob.join(&room_id).await;
            room_id
        } else {
            self.room_id().to_owned()
        };
        names.push(("{roomIdOrAlias}", room_id.clone()));
        names.push(("{roomId}", room_id));
        let mut path = endpoint.full_path();
        for (name, value) in &names {
            path = path.replace(name, &path_segment(value));
        }
        Call {
            method: endpoint.method(),
            path,
            query: endpoint.query.to_owned(),
            body: endpoint.body().map(|body| fill(body, &names)),
            client: self.client(),
            token: endpoint.needs_token().then(|| user.token.clone()),
        }
    }
}

impl Call {
    /// The request without body and token.
    pub(crate) fn bare(&self) -> Request {
        let separator = if self.query.is_empty() { "" } else { "?" };
        self.client.request(self.method.clone(), format!("{}{separator}{}", self.path, self.query))
    }

    /// The request without body.
    pub(crate) fn authorised(&self) -> Request {
        match &self.token {
            Some(token) => self.bare().token(token),
            None => self.bare(),
        }
    }

    /// The request as it should be.
    pub(crate) fn valid(&self) -> Request {
        match &self.body {
            Some(body) => self.authorised().json(body),
            None => self.authorised(),
        }
    }
}

fn fill(mut value: Value, names: &[(&'static str, String)]) -> Value {
    match &mut value {
        Value::String(text) => {
            for (name, stands_for) in names {
                *text = text.replace(name, stands_for);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| *value = fill(value.take(), names)),
        Value::Object(values) => values.values_mut().for_each(|value| *value = fill(value.take(), names)),
        _ => {}
    }
    value
}
