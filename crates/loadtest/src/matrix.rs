//! The client-server API as far as the scenarios use it
//! (<https://spec.matrix.org/v1.19/client-server-api/>).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::http::{Answer, Endpoint, TransportError};

/// How often one request is repeated because of rate limits before it counts as failed.
const RATE_LIMIT_ATTEMPTS: u32 = 100;
/// A server that names no time to wait is asked again after this.
const RATE_LIMIT_PAUSE: Duration = Duration::from_millis(500);
const RATE_LIMIT_PAUSE_MAX: Duration = Duration::from_secs(60);

/// A homeserver, by its public API.
pub(crate) struct Homeserver {
    endpoint: Endpoint,
    transactions: AtomicU64,
    first_syncs: AtomicU64,
}

/// An account with an access token.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct User {
    pub(crate) user_id: String,
    pub(crate) access_token: String,
}

/// A 200 answer.
pub(crate) struct Reply {
    pub(crate) body: Bytes,
    /// Of the request that was answered at last, without those that were rate limited.
    pub(crate) latency: Duration,
    /// How often 429 was answered before.
    pub(crate) rate_limited: u32,
}

impl Reply {
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body).context("the server's answer lacks what was asked for")
    }
}

/// No answer, or one with another status than 200.
#[derive(Debug)]
pub(crate) struct Failure {
    cause: Cause,
    pub(crate) rate_limited: u32,
}

#[derive(Debug)]
enum Cause {
    Status { status: u16, code: String, body: Bytes },
    Transport(TransportError),
}

impl Failure {
    /// The JSON of an answer with this status.
    pub(crate) fn body_of_status(&self, wanted: u16) -> Option<Value> {
        match &self.cause {
            Cause::Status { status, body, .. } if *status == wanted => serde_json::from_slice(body).ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Status { status, code, .. } => write!(f, "{status} {code}"),
            Cause::Transport(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

/// <https://spec.matrix.org/v1.19/client-server-api/#standard-error-response>
#[derive(Deserialize, Default)]
struct ErrorBody {
    #[serde(default)]
    errcode: String,
    retry_after_ms: Option<u64>,
}

impl Homeserver {
    pub(crate) fn new(base_url: &str) -> anyhow::Result<Self> {
        Ok(Self { endpoint: Endpoint::new(base_url)?, transactions: AtomicU64::new(0), first_syncs: AtomicU64::new(0) })
    }

    pub(crate) async fn get(&self, user: Option<&User>, path: &str) -> Result<Reply, Failure> {
        self.call(&Method::GET, user, path, Bytes::new()).await
    }

    pub(crate) async fn post(&self, user: Option<&User>, path: &str, body: &Value) -> Result<Reply, Failure> {
        self.call(&Method::POST, user, path, body.to_string().into()).await
    }

    pub(crate) async fn put(&self, user: Option<&User>, path: &str, body: &Value) -> Result<Reply, Failure> {
        self.call(&Method::PUT, user, path, body.to_string().into()).await
    }

    /// Waits out rate limits and repeats, at most [`RATE_LIMIT_ATTEMPTS`] times.
    async fn call(&self, method: &Method, user: Option<&User>, path: &str, body: Bytes) -> Result<Reply, Failure> {
        let token = user.map(|user| user.access_token.as_str());
        let mut rate_limited = 0;
        loop {
            let answer = match self.endpoint.exchange(method, path, token, &body).await {
                Ok(answer) => answer,
                Err(error) => return Err(Failure { cause: Cause::Transport(error), rate_limited }),
            };
            if answer.status == 200 {
                return Ok(Reply { body: answer.body, latency: answer.latency, rate_limited });
            }
            let error: ErrorBody = serde_json::from_slice(&answer.body).unwrap_or_default();
            let limited = answer.status == 429;
            rate_limited += u32::from(limited);
            if !limited || rate_limited >= RATE_LIMIT_ATTEMPTS {
                let status = answer.status.as_u16();
                let cause = Cause::Status { status, code: error.errcode, body: answer.body };
                return Err(Failure { cause, rate_limited });
            }
            tokio::time::sleep(rate_limit_pause(&error, &answer)).await;
        }
    }

    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions>
    pub(crate) async fn versions(&self) -> Result<Reply, Failure> {
        self.get(None, "/_matrix/client/versions").await
    }

    /// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login>
    pub(crate) async fn login(&self, user_id: &str, password: &str) -> Result<Reply, Failure> {
        let identifier = json!({"type": "m.id.user", "user": user_id});
        let body = json!({"type": "m.login.password", "identifier": identifier, "password": password});
        self.post(None, "/_matrix/client/v3/login", &body).await
    }

    /// Uploads a content; the path under which it is downloaded.
    /// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload>
    pub(crate) async fn upload(&self, user: &User, content: Bytes) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        struct Uploaded {
            content_uri: String,
        }
        let reply = self.call(&Method::POST, Some(user), "/_matrix/media/v3/upload", content).await;
        let uri = reply.context("uploading")?.parse::<Uploaded>()?.content_uri;
        let place = uri.strip_prefix("mxc://").context("the server's answer to an upload is no mxc:// URI")?;
        Ok(format!("/_matrix/client/v1/media/download/{place}"))
    }

    /// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom>
    pub(crate) async fn create_room(&self, user: &User, preset: &str) -> Result<Reply, Failure> {
        let body = json!({"preset": preset, "name": "Load test", "topic": "Made by a load generator"});
        self.post(Some(user), "/_matrix/client/v3/createRoom", &body).await
    }

    /// A new room that anybody may join; its ID.
    pub(crate) async fn new_public_room(&self, user: &User) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        struct Created {
            room_id: String,
        }
        let reply = self.create_room(user, "public_chat").await.context("creating a room")?;
        Ok(reply.parse::<Created>()?.room_id)
    }

    /// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidjoin>
    pub(crate) async fn join(&self, user: &User, room_id: &str) -> Result<Reply, Failure> {
        let path = format!("/_matrix/client/v3/rooms/{}/join", escaped(room_id));
        self.post(Some(user), &path, &json!({})).await
    }

    /// Sends a text message with a transaction id of its own.
    /// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid>
    pub(crate) async fn send(&self, user: &User, room_id: &str, text: &str) -> Result<Reply, Failure> {
        let transaction = self.transactions.fetch_add(1, Ordering::Relaxed);
        let room_id = escaped(room_id);
        let path = format!("/_matrix/client/v3/rooms/{room_id}/send/m.room.message/load{transaction}");
        let body = json!({"msgtype": "m.text", "body": text}).to_string();
        self.call(&Method::PUT, Some(user), &path, body.into()).await
    }

    /// Sends a message of the length people write, different each time.
    pub(crate) async fn send_chatter(&self, user: &User, room_id: &str) -> Result<Reply, Failure> {
        let number = self.transactions.load(Ordering::Relaxed);
        let text =
            format!("Message {number}: shall we meet at the station at half past {}, as last time?", number % 12 + 1);
        self.send(user, room_id, &text).await
    }

    /// Presence is left out of it: whether a server has it on would decide the figures.
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync>
    pub(crate) async fn sync(&self, user: &User, since: Option<&str>, timeout: Duration) -> Result<Reply, Failure> {
        let timeout_ms = timeout.as_millis();
        let mut path = format!("/_matrix/client/v3/sync?set_presence=offline&timeout={timeout_ms}");
        if let Some(since) = since {
            path.push_str("&since=");
            path.push_str(&escaped(since));
        }
        self.get(Some(user), &path).await
    }

    /// A user's first sync, which never waits.
    ///
    /// A server may keep its last answers for a while: Synapse answers the same question from the same
    /// device within two minutes with the same words, also where rooms were joined in between. A timeout that
    /// differs each time makes it another question, and does nothing else here.
    pub(crate) async fn first_sync(&self, user: &User) -> Result<Reply, Failure> {
        let number = self.first_syncs.fetch_add(1, Ordering::Relaxed);
        self.sync(user, None, Duration::from_millis(1 + number % 1000)).await
    }

    /// As [`Homeserver::first_sync`], with only the members that are needed to show the timelines.
    pub(crate) async fn first_lazy_sync(&self, user: &User) -> Result<Reply, Failure> {
        let filter = escaped(r#"{"room":{"state":{"lazy_load_members":true}}}"#);
        let timeout_ms = 1 + self.first_syncs.fetch_add(1, Ordering::Relaxed) % 1000;
        let path = format!("/_matrix/client/v3/sync?set_presence=offline&filter={filter}&timeout={timeout_ms}");
        self.get(Some(user), &path).await
    }

    /// Where a user's syncs go on from now.
    pub(crate) async fn position(&self, user: &User) -> anyhow::Result<String> {
        next_batch(&self.first_sync(user).await.context("syncing")?)
    }

    /// One page backwards.
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>
    pub(crate) async fn messages(
        &self,
        user: &User,
        room_id: &str,
        from: Option<&str>,
        limit: u32,
    ) -> Result<Reply, Failure> {
        let mut path = format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit={limit}", escaped(room_id));
        if let Some(from) = from {
            path.push_str("&from=");
            path.push_str(&escaped(from));
        }
        self.get(Some(user), &path).await
    }
}

/// The `next_batch` of a sync answer; the rest is skipped without building it.
pub(crate) fn next_batch(reply: &Reply) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Synced {
        next_batch: String,
    }
    Ok(reply.parse::<Synced>()?.next_batch)
}

/// <https://spec.matrix.org/v1.19/client-server-api/#rate-limiting>
fn rate_limit_pause(error: &ErrorBody, answer: &Answer) -> Duration {
    let header_s = || answer.headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok();
    let pause = match error.retry_after_ms {
        Some(ms) => Duration::from_millis(ms),
        None => header_s().map_or(RATE_LIMIT_PAUSE, Duration::from_secs),
    };
    pause.clamp(Duration::from_millis(1), RATE_LIMIT_PAUSE_MAX)
}

/// Percent-encodes one path segment or query value.
pub(crate) fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_ids_are_escaped_for_a_path() {
        assert_eq!(escaped("!a-b_c:example.org"), "%21a-b_c%3Aexample.org");
        assert_eq!(escaped("a/b?c&d é"), "a%2Fb%3Fc%26d%20%C3%A9");
    }

    fn limited(retry_after_s: Option<&str>) -> Answer {
        let value = retry_after_s.and_then(|text| text.parse().ok());
        Answer {
            status: http::StatusCode::TOO_MANY_REQUESTS,
            headers: value.map(|value| (header::RETRY_AFTER, value)).into_iter().collect(),
            body: Bytes::new(),
            latency: Duration::ZERO,
        }
    }

    #[test]
    fn the_pause_after_a_rate_limit_is_the_one_the_server_names() {
        let named = ErrorBody { errcode: String::new(), retry_after_ms: Some(250) };
        assert_eq!(rate_limit_pause(&named, &limited(Some("7"))), Duration::from_millis(250));
        let unnamed = ErrorBody::default();
        assert_eq!(rate_limit_pause(&unnamed, &limited(Some("7"))), Duration::from_secs(7));
        assert_eq!(rate_limit_pause(&unnamed, &limited(None)), RATE_LIMIT_PAUSE);
        assert_eq!(rate_limit_pause(&unnamed, &limited(Some("9999"))), RATE_LIMIT_PAUSE_MAX);
    }

    /// Answers one connection's requests with these, one after the other.
    async fn server_that_answers(answers: Vec<String>) -> Homeserver {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in answers {
                let mut request = [0; 4096];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Homeserver::new(&url).unwrap()
    }

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn a_rate_limited_request_is_repeated_on_the_same_connection_and_counted() {
        let limited = answer("429 Too Many", r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":5}"#);
        let server = server_that_answers(vec![limited.clone(), limited, answer("200 OK", "{}")]).await;
        let reply = server.versions().await.unwrap();
        assert_eq!((reply.rate_limited, reply.body.as_ref()), (2, b"{}".as_slice()));
    }

    #[tokio::test]
    async fn another_status_is_a_failure_that_names_the_matrix_error() {
        let forbidden = answer("403 Forbidden", r#"{"errcode":"M_FORBIDDEN","error":"no"}"#);
        let server = server_that_answers(vec![forbidden]).await;
        let failure = server.versions().await.err().unwrap();
        assert_eq!(failure.to_string(), "403 M_FORBIDDEN");
        assert!(failure.body_of_status(403).is_some());
        assert!(failure.body_of_status(401).is_none());
    }

    #[test]
    fn the_token_of_a_sync_is_found_among_the_rest() {
        let body = Bytes::from_static(br#"{"rooms":{"join":{}},"next_batch":"s1_2"}"#);
        let reply = Reply { body, latency: Duration::ZERO, rate_limited: 0 };
        assert_eq!(next_batch(&reply).unwrap(), "s1_2");
    }
}
