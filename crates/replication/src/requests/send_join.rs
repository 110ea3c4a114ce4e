//! Sending the event by which a user joins a room, and reading the room's state, which may be large.

use bytes::Bytes;
use federation::{Outgoing, RequestError};
use http::Method;
use ruma::{EventId, OwnedServerName, RoomId, ServerName};
use tokio::time::Instant;

use super::splitter::{Part, Splitter, read_parts};
use super::{RoomRequests, path, time_left};

/// The longest answer.
const MAX_ANSWER_BYTES: usize = 50 << 20;
/// The most events in an answer.
const MAX_EVENTS: usize = 400_000;
/// Its long lists.
const LISTS: &[&str] = &["state", "auth_chain"];
/// The most servers in an answer.
const MAX_SERVERS: usize = 50_000;

/// What another server answers to a join. Nothing of it is checked.
#[derive(Debug, Default)]
pub struct JoinAnswer {
    /// The state before the join.
    pub state: Vec<Bytes>,
    /// The events that permit the state and the join.
    pub auth_chain: Vec<Bytes>,
    /// The event that was sent, with the signature of the other server.
    pub event: Option<Bytes>,
    /// Whether members are missing in the state.
    pub members_omitted: bool,
    /// The servers in the room before the join.
    pub servers_in_room: Vec<OwnedServerName>,
}

impl RoomRequests {
    /// Sends the signed event by which a user joins a room, and reads the answer piece by piece. With `omit_members` the other server may
    /// leave members out.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid>
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn send_join(
        &self,
        server: &ServerName,
        (room_id, event_id): (&RoomId, &EventId),
        event: Bytes,
        omit_members: bool,
        deadline: Instant,
    ) -> Result<JoinAnswer, RequestError> {
        let mut uri = path("v2", "send_join", &[&room_id, &event_id]);
        uri.push_str(if omit_members { "?omit_members=true" } else { "?omit_members=false" });
        let outgoing = Outgoing {
            method: Method::PUT,
            server,
            uri: &uri,
            body: Some(event),
            limit_bytes: MAX_ANSWER_BYTES,
            timeout: time_left(deadline),
        };
        let open = self.client.open_answer(&outgoing).await?;
        let mut answer = JoinAnswer::default();
        let reading = read_parts(open, MAX_ANSWER_BYTES, LISTS, |part| answer.add(part));
        let read = tokio::time::timeout_at(deadline, reading).await;
        read.map_err(|_| RequestError::TooSlow { server: server.to_owned() })??;
        Ok(answer)
    }
}

/// Reads an answer to a join piece by piece.
pub struct JoinAnswerReader {
    answer: JoinAnswer,
    splitter: Splitter,
}

impl Default for JoinAnswerReader {
    fn default() -> Self {
        Self { answer: JoinAnswer::default(), splitter: Splitter::of_lists(LISTS) }
    }
}

impl JoinAnswerReader {
    /// Reads a piece.
    ///
    /// # Errors
    /// A sentence if it is not an answer, or one of too many parts.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), &'static str> {
        let answer = &mut self.answer;
        self.splitter.push(piece, &mut |part| answer.add(part))
    }

    /// The answer, once all of it was read.
    ///
    /// # Errors
    /// A sentence if it ends too early.
    pub fn finish(self) -> Result<JoinAnswer, &'static str> {
        self.splitter.end()?;
        Ok(self.answer)
    }
}

impl JoinAnswer {
    fn add(&mut self, part: Part<'_>) -> Result<(), &'static str> {
        match part {
            Part::Element { list, json } => {
                if self.state.len() + self.auth_chain.len() >= MAX_EVENTS {
                    return Err("it has too many events");
                }
                if json.first() != Some(&b'{') {
                    return Err("an event is not an object");
                }
                let events = if list == "state" { &mut self.state } else { &mut self.auth_chain };
                events.push(Bytes::copy_from_slice(json));
            }
            Part::Value { key: "event", json } if json.starts_with(b"{") => {
                self.event = Some(Bytes::copy_from_slice(json));
            }
            Part::Value { key: "members_omitted", json } => self.members_omitted = json == b"true",
            Part::Value { key: "servers_in_room", json } => {
                let names: Vec<String> = serde_json::from_slice(json).map_err(|_| "`servers_in_room` is not a list")?;
                let names = names.iter().filter_map(|name| ServerName::parse(name.as_str()).ok());
                self.servers_in_room = names.take(MAX_SERVERS).collect();
            }
            Part::Value { .. } => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &[u8], piece_bytes: usize) -> Result<JoinAnswer, &'static str> {
        let mut reader = JoinAnswerReader::default();
        for piece in text.chunks(piece_bytes) {
            reader.push(piece)?;
        }
        reader.finish()
    }

    #[test]
    fn an_answer_is_read_in_pieces_of_any_length() {
        let text = br#" { "origin":"a.example","state": [ {"type":"a","s":"]}\"\\"} ,{"x":[{}]}],
            "auth_chain":[{"b":1}], "members_omitted" :true, "event":{"e":{}},
            "servers_in_room":["a.example","b.example","not a name"],"n":12} "#;
        for piece_bytes in [1, 2, 3, 7, 1000] {
            let answer = split(text, piece_bytes).unwrap();
            assert_eq!(answer.state, [&br#"{"type":"a","s":"]}\"\\"}"#[..], br#"{"x":[{}]}"#]);
            assert_eq!(answer.auth_chain, [&br#"{"b":1}"#[..]]);
            assert_eq!(answer.event.as_deref(), Some(&br#"{"e":{}}"#[..]));
            assert!(answer.members_omitted);
            assert_eq!(answer.servers_in_room, ["a.example", "b.example"]);
        }
    }

    #[test]
    fn what_is_not_an_answer_is_refused() {
        for text in [
            "",
            "[]",
            "{",
            r#"{"state":[{}"#,
            r#"{"state":[1]}"#,
            r#"{"state":["#,
            r#"{"state" [{}]}"#,
            r#"{"state":[]}x"#,
            r#"{"servers_in_room":5}"#,
            r#"{"event":{"#,
            "{5}",
        ] {
            assert!(split(text.as_bytes(), 5).is_err(), "{text}");
        }
        let long = format!(r#"{{"state":[{{"x":"{}"}}]}}"#, "x".repeat(2 << 20));
        assert!(split(long.as_bytes(), 1000).is_err(), "an event that is too long");
        assert!(split(br#"{"state":[],"auth_chain":[]}"#, 4).unwrap().state.is_empty());
    }
}
