use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, stream};
use homeserver_core::EventSn;
use room_engine::RoomVersion;
use rooms::wire::push_string;
use rooms::{JoinState, RoomError, Timeline};
use ruma::{OwnedRoomId, OwnedServerName};

/// Events of one piece of the answer.
const EVENTS_AT_ONCE: usize = 200;

/// What another server is told of a room that one of its users has joined. It may be large, and is read while it is sent.
pub struct JoinedRoom {
    pub(super) timeline: Arc<Timeline>,
    pub(super) origin: OwnedServerName,
    pub(super) room_id: OwnedRoomId,
    pub(super) version: RoomVersion,
    /// The join, as JSON.
    pub(super) event: Vec<u8>,
    pub(super) state: JoinState,
}

/// What comes next.
enum Next {
    Start,
    /// Events of the state from this one on.
    State(usize),
    /// Events of the auth chain from this one on.
    AuthChain(usize),
    End,
}

impl JoinedRoom {
    /// The answer to the join, as JSON, piece by piece.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid>
    pub fn into_pieces(self) -> impl Stream<Item = Result<Bytes, RoomError>> + Send {
        stream::try_unfold((self, Next::Start), |(room, next)| async move {
            let Some((piece, next)) = room.piece(next).await? else { return Ok(None) };
            Ok(Some((Bytes::from(piece), (room, next))))
        })
    }

    async fn piece(&self, next: Next) -> Result<Option<(Vec<u8>, Next)>, RoomError> {
        Ok(Some(match next {
            Next::Start => (self.start(), Next::State(0)),
            Next::State(first) => {
                let (mut piece, next) = self.events(&self.state.state, first).await?;
                if next.is_none() {
                    piece.extend_from_slice(b"],\"auth_chain\":[");
                }
                (piece, next.map_or(Next::AuthChain(0), Next::State))
            }
            Next::AuthChain(first) => {
                let (mut piece, next) = self.events(&self.state.auth_chain, first).await?;
                if next.is_none() {
                    piece.extend_from_slice(b"]}");
                }
                (piece, next.map_or(Next::End, Next::AuthChain))
            }
            Next::End => return Ok(None),
        }))
    }

    fn start(&self) -> Vec<u8> {
        let mut out = b"{\"origin\":".to_vec();
        push_string(&mut out, self.origin.as_str());
        out.extend_from_slice(b",\"event\":");
        out.extend_from_slice(&self.event);
        out.extend_from_slice(b",\"members_omitted\":");
        out.extend_from_slice(if self.state.members_omitted { b"true" } else { b"false" });
        out.extend_from_slice(b",\"servers_in_room\":[");
        for (index, server) in self.state.servers_in_room.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_string(&mut out, server.as_str());
        }
        out.extend_from_slice(b"],\"state\":[");
        out
    }

    /// Some of the events from `first` on, separated by commas, and where to go on.
    async fn events(&self, events: &[EventSn], first: usize) -> Result<(Vec<u8>, Option<usize>), RoomError> {
        let rest = events.get(first..).unwrap_or_default();
        let now = rest.get(..EVENTS_AT_ONCE).unwrap_or(rest);
        let texts = self.timeline.pdu_texts(&self.room_id, self.version, now).await?;
        let mut out = Vec::with_capacity(texts.iter().map(|text| text.len() + 1).sum());
        for (index, text) in texts.iter().enumerate() {
            if first + index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(text);
        }
        Ok((out, (now.len() < rest.len()).then_some(first + now.len())))
    }
}
