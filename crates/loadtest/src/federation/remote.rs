//! The requests of other servers.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::signing::{Signer, event_id};
use crate::http::Endpoint;
use crate::matrix::escaped;

/// Makes the requests of any server that the load generator plays.
pub(super) struct Remotes {
    endpoint: Endpoint,
    signer: Arc<Signer>,
    destination: String,
}

/// A user of another server in a room, and where the room ends for that server.
pub(super) struct RemoteMember {
    server: String,
    user_id: String,
    room_id: String,
    auth_events: Vec<String>,
    last: String,
    depth: i64,
}

/// A request that is ready to be sent.
pub(super) struct Prepared {
    path: String,
    authorization: String,
    body: Bytes,
}

impl Remotes {
    pub(super) fn new(url: &str, signer: Arc<Signer>, destination: &str) -> anyhow::Result<Self> {
        Ok(Self { endpoint: Endpoint::new(url)?, signer, destination: destination.to_owned() })
    }

    /// Has a user of a server join a public room of version 11.
    pub(super) async fn join(&self, server: &str, room_id: &str) -> anyhow::Result<RemoteMember> {
        let user_id = format!("@user:{server}");
        let (room, user) = (escaped(room_id), escaped(&user_id));
        let path = format!("/_matrix/federation/v1/make_join/{room}/{user}?ver=11");
        let template = self.ask(server, &Method::GET, &path, None).await.context("make_join")?;
        let template = template.get("event").context("make_join answers with an event")?;
        let (id, event) = self.signer.event(server, template)?;
        let path = format!("/_matrix/federation/v2/send_join/{room}/{}?omit_members=true", escaped(&id));
        let joined = self.ask(server, &Method::PUT, &path, Some(&event)).await.context("send_join")?;
        let mut auth_events = vec![id.clone()];
        for event in joined.get("state").and_then(Value::as_array).into_iter().flatten() {
            let event_type = event.get("type").and_then(Value::as_str);
            if matches!(event_type, Some("m.room.create" | "m.room.power_levels")) {
                auth_events.push(event_id(event)?);
            }
        }
        let depth = event.get("depth").and_then(Value::as_i64).context("an event has a depth")?;
        let (server, room_id) = (server.to_owned(), room_id.to_owned());
        Ok(RemoteMember { server, user_id, room_id, auth_events, last: id, depth })
    }

    /// A transaction of so many messages, each after the one before.
    pub(super) fn messages(&self, member: &mut RemoteMember, number: usize, count: usize) -> anyhow::Result<Prepared> {
        let mut pdus = Vec::with_capacity(count);
        for each in 0..count {
            let text = format!("Message {each} of transaction {number}: shall we meet at the station, as last time?");
            let event = json!({
                "type": "m.room.message", "room_id": member.room_id, "sender": member.user_id,
                "content": { "msgtype": "m.text", "body": text }, "depth": member.depth + 1,
                "prev_events": [member.last], "auth_events": member.auth_events,
                "origin_server_ts": 1_700_000_000_000_i64 + member.depth,
            });
            let (id, event) = self.signer.event(&member.server, &event)?;
            (member.last, member.depth) = (id, member.depth + 1);
            pdus.push(event);
        }
        let body = json!({ "origin": member.server, "origin_server_ts": 1, "pdus": pdus });
        let path = format!("/_matrix/federation/v1/send/load{number}");
        let authorization = self.authorization(&member.server, &Method::PUT, &path, Some(&body))?;
        Ok(Prepared { path, authorization, body: body.to_string().into() })
    }

    /// Sends what is prepared; how many of its events were refused.
    pub(super) async fn send(&self, prepared: &Prepared) -> anyhow::Result<usize> {
        let Prepared { path, authorization, body } = prepared;
        let answer = self.endpoint.exchange_as(&Method::PUT, path, Some(authorization), body).await;
        let answer = answer.map_err(|error| anyhow::anyhow!("{error}"))?;
        if answer.status != 200 {
            bail!("status {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        let results: Value = serde_json::from_slice(&answer.body)?;
        let results = results.get("pdus").and_then(Value::as_object);
        Ok(results.map_or(0, |results| results.values().filter(|result| result.get("error").is_some()).count()))
    }

    async fn ask(&self, server: &str, method: &Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let authorization = self.authorization(server, method, path, body)?;
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let answer = self.endpoint.exchange_as(method, path, Some(&authorization), &body).await;
        let answer = answer.map_err(|error| anyhow::anyhow!("{error}"))?;
        if answer.status != 200 {
            bail!("status {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }

    fn authorization(&self, server: &str, method: &Method, path: &str, body: Option<&Value>) -> anyhow::Result<String> {
        self.signer.authorization((server, &self.destination), method, path, body)
    }
}
