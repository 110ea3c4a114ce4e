//! Somebody with a client.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

/// How long a person waits for something that the other one did.
const PATIENCE: Duration = Duration::from_secs(40);
const POLL_MS: u64 = 2_000;

/// An account, and what its client was told so far.
pub(crate) struct Person {
    http: Client,
    url: String,
    /// The name of the server.
    pub(crate) server: String,
    pub(crate) user_id: String,
    access_token: String,
    since: Option<String>,
    /// The answers to all syncs, oldest first.
    told: Vec<Value>,
    transactions: u32,
}

/// Text as a part of a path.
fn escaped(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

impl Person {
    /// Makes an account, and syncs once.
    pub(crate) async fn register(url: &str, server: &str, name: &str) -> Result<Self> {
        let http = Client::new();
        let body = json!({ "username": name, "password": "a phrase of no worth", "auth": { "type": "m.login.dummy" } });
        let answer = http.post(format!("{url}/_matrix/client/v3/register")).json(&body).send().await?;
        let account: Value = answer.error_for_status()?.json().await?;
        let text = |key: &str| account.get(key).and_then(Value::as_str).map(str::to_owned).context("no account");
        let mut person = Self {
            http,
            url: url.to_owned(),
            server: server.to_owned(),
            user_id: text("user_id")?,
            access_token: text("access_token")?,
            since: None,
            told: Vec::new(),
            transactions: 0,
        };
        person.sync(0).await?;
        Ok(person)
    }

    /// Makes a request below `/_matrix/client/`; an error is the status and what it says.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.http.request(method.clone(), format!("{}/_matrix/client/{path}", self.url));
        request = request.bearer_auth(&self.access_token).timeout(Duration::from_secs(90));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        if !status.is_success() {
            bail!("{method} {path}: {status}: {body}");
        }
        Ok(body)
    }

    /// Makes a room, and returns its ID.
    pub(crate) async fn create_room(&self, version: &str, mut request: Value) -> Result<String> {
        if let Some(request) = request.as_object_mut() {
            request.insert("room_version".to_owned(), json!(version));
        }
        let made = self.call(Method::POST, "v3/createRoom", Some(request)).await?;
        made.get("room_id").and_then(Value::as_str).map(str::to_owned).context("a room has an ID")
    }

    /// Joins a room by its ID or alias, by way of a server.
    pub(crate) async fn join(&self, room: &str, via: &str) -> Result<String> {
        let (room, via) = (escaped(room), escaped(via));
        let path = format!("v3/join/{room}?via={via}&server_name={via}");
        let joined = self.call(Method::POST, &path, Some(json!({}))).await?;
        joined.get("room_id").and_then(Value::as_str).map(str::to_owned).context("a room has an ID")
    }

    /// Asks to be let in.
    pub(crate) async fn knock(&self, room: &str, via: &str) -> Result<()> {
        let (room, via) = (escaped(room), escaped(via));
        self.call(Method::POST, &format!("v3/knock/{room}?via={via}&server_name={via}"), Some(json!({}))).await?;
        Ok(())
    }

    /// Invites, kicks, bans: what is done to a member.
    pub(crate) async fn change_member(&self, action: &str, room: &str, user_id: &str) -> Result<()> {
        let path = format!("v3/rooms/{}/{action}", escaped(room));
        self.call(Method::POST, &path, Some(json!({ "user_id": user_id }))).await?;
        Ok(())
    }

    /// Leaves a room, or rejects the invite to it.
    pub(crate) async fn leave(&self, room: &str) -> Result<()> {
        self.call(Method::POST, &format!("v3/rooms/{}/leave", escaped(room)), Some(json!({}))).await?;
        Ok(())
    }

    /// Sends a text, and returns the ID of the event.
    pub(crate) async fn say(&mut self, room: &str, text: &str) -> Result<String> {
        self.transactions += 1;
        let path = format!("v3/rooms/{}/send/m.room.message/{}", escaped(room), self.transactions);
        let sent = self.call(Method::PUT, &path, Some(json!({ "msgtype": "m.text", "body": text }))).await?;
        sent.get("event_id").and_then(Value::as_str).map(str::to_owned).context("an event has an ID")
    }

    /// Redacts an event. Synapse takes a transaction ID for used that any other request in the room had.
    pub(crate) async fn redact(&mut self, room: &str, event_id: &str) -> Result<()> {
        self.transactions += 1;
        let path = format!("v3/rooms/{}/redact/{}/{}", escaped(room), escaped(event_id), self.transactions);
        self.call(Method::PUT, &path, Some(json!({}))).await?;
        Ok(())
    }

    /// Sets state with an empty state key.
    pub(crate) async fn set_state(&self, room: &str, event_type: &str, content: Value) -> Result<()> {
        let path = format!("v3/rooms/{}/state/{event_type}/", escaped(room));
        self.call(Method::PUT, &path, Some(content)).await?;
        Ok(())
    }

    /// The events of one page of the room's history, newest first, and where the next page begins.
    pub(crate) async fn history(&self, room: &str, from: Option<&str>) -> Result<(Vec<Value>, Option<String>)> {
        let from = from.map_or_else(String::new, |from| format!("&from={}", escaped(from)));
        let path = format!("v3/rooms/{}/messages?dir=b&limit=20{from}", escaped(room));
        let page = self.call(Method::GET, &path, None).await?;
        let chunk = page.get("chunk").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok((chunk, page.get("end").and_then(Value::as_str).map(str::to_owned)))
    }

    /// Asks what is new, and remembers it.
    pub(crate) async fn sync(&mut self, timeout_ms: u64) -> Result<()> {
        let since = self.since.as_deref().map_or_else(String::new, |since| format!("&since={}", escaped(since)));
        let answer = self.call(Method::GET, &format!("v3/sync?timeout={timeout_ms}{since}"), None).await?;
        self.since = answer.get("next_batch").and_then(Value::as_str).map(str::to_owned);
        self.told.push(answer);
        Ok(())
    }

    /// Syncs until some answer has what `find` finds.
    pub(crate) async fn wait_for<T>(&mut self, what: &str, find: impl Fn(&Value) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = 0;
        loop {
            if let Some(found) = self.told.iter().skip(seen).find_map(&find) {
                return Ok(found);
            }
            seen = self.told.len();
            if Instant::now() > deadline {
                bail!("{} is not told of {what}", self.user_id);
            }
            self.sync(POLL_MS).await?;
        }
    }

    /// Waits until the timeline of a room has an event of which `is` holds.
    pub(crate) async fn wait_for_event(
        &mut self,
        what: &str,
        room: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let parts = [format!("/rooms/join/{}", pointed(room)), format!("/rooms/leave/{}", pointed(room))];
        self.wait_for(what, |answer| {
            let rooms = parts.iter().filter_map(|part| answer.pointer(part));
            let mut events = rooms.flat_map(|room| {
                let of = |part: &str| room.pointer(part).and_then(Value::as_array);
                of("/timeline/events").into_iter().chain(of("/state/events")).flatten()
            });
            events.rfind(|event| is(event)).cloned()
        })
        .await
    }

    /// Waits for a text in a room.
    pub(crate) async fn wait_for_text(&mut self, room: &str, text: &str) -> Result<Value> {
        let is = |event: &Value| event.pointer("/content/body").and_then(Value::as_str) == Some(text);
        self.wait_for_event(&format!("{text:?}"), room, is).await
    }

    /// Waits until a user has this membership in a room.
    pub(crate) async fn wait_for_member(&mut self, room: &str, user_id: &str, membership: &str) -> Result<Value> {
        let is = |event: &Value| {
            let text = |path: &str| event.pointer(path).and_then(Value::as_str);
            text("/state_key") == Some(user_id) && text("/content/membership") == Some(membership)
        };
        self.wait_for_event(&format!("{membership} of {user_id}"), room, is).await
    }

    /// Waits until the person has this membership in a room.
    pub(crate) async fn wait_to_be(&mut self, room: &str, membership: &str) -> Result<Value> {
        let user_id = self.user_id.clone();
        self.wait_for_member(room, &user_id, membership).await
    }

    /// Waits for an ephemeral event of this type in a room, of which `is` holds.
    pub(crate) async fn wait_for_ephemeral(
        &mut self,
        room: &str,
        event_type: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let path = format!("/rooms/join/{}/ephemeral/events", pointed(room));
        self.wait_for(event_type, |answer| {
            let events = answer.pointer(&path)?.as_array()?;
            let mut wanted =
                events.iter().filter(|event| event.get("type").and_then(Value::as_str) == Some(event_type));
            wanted.any(|event| event.get("content").is_some_and(&is)).then_some(())
        })
        .await
    }

    /// Waits for the invite to a room.
    pub(crate) async fn wait_for_invite(&mut self, room: &str) -> Result<()> {
        let path = format!("/rooms/invite/{}/invite_state/events", pointed(room));
        self.wait_for("an invite", |answer| answer.pointer(&path).map(|_| ())).await
    }

    /// Uploads a content, and returns its URI.
    pub(crate) async fn upload(&self, content: &'static [u8]) -> Result<String> {
        let request = self.http.post(format!("{}/_matrix/media/v3/upload?filename=a.txt", self.url));
        let request = request.bearer_auth(&self.access_token).header("content-type", "text/plain").body(content);
        let answer: Value = request.send().await?.error_for_status()?.json().await?;
        answer.get("content_uri").and_then(Value::as_str).map(str::to_owned).context("a content has a URI")
    }

    /// Downloads the content of a URI.
    pub(crate) async fn download(&self, uri: &str) -> Result<Vec<u8>> {
        let place = uri.strip_prefix("mxc://").context("a URI of media")?;
        let request = self.http.get(format!("{}/_matrix/client/v1/media/download/{place}", self.url));
        let answer = request.bearer_auth(&self.access_token).send().await?.error_for_status()?;
        Ok(answer.bytes().await?.to_vec())
    }
}

/// Text as a part of a JSON pointer.
fn pointed(text: &str) -> String {
    text.replace('~', "~0").replace('/', "~1")
}
