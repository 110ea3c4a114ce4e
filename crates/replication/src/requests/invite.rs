//! Invitations of users of other servers.

use bytes::Bytes;
use federation::RequestError;
use http::StatusCode;
use room_engine::RoomVersion;
use ruma::{EventId, RoomId, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Limits, RoomRequests, path};

/// The longest answer: the event, and escapes of JSON.
const MAX_ANSWER_BYTES: usize = 512 << 10;

/// An invitation for the server of the invited user.
#[derive(Serialize)]
pub struct InviteRequest<'a> {
    /// The version of the room.
    pub room_version: &'a str,
    /// The event, signed by this server.
    pub event: &'a RawValue,
    /// Whole state events that introduce the room.
    pub invite_room_state: &'a [Box<RawValue>],
}

#[derive(Deserialize)]
struct Answer {
    event: Box<RawValue>,
}

impl RoomRequests {
    /// Sends an invitation, and returns the event with the signature of the other server, which may be anything.
    ///
    /// The older form of the request is tried where the newer one is unknown, for rooms of versions 1 and 2 only.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid>
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn invite(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        invite: &InviteRequest<'_>,
        deadline: Instant,
    ) -> Result<Box<RawValue>, RequestError> {
        let limits = Limits { bytes: MAX_ANSWER_BYTES, deadline };
        let body = serde_json::to_vec(invite).map_err(|error| RequestError::bad_answer(server, &error.to_string()))?;
        let uri = path("v2", "invite", &[&room_id, &event_id]);
        let may_be_older = invite.room_version.parse::<RoomVersion>().is_ok_and(RoomVersion::event_id_in_pdu);
        match self.put::<Answer>(server, &uri, Bytes::from(body), limits).await {
            Err(error) if may_be_older && is_of_older_server(&error) => {
                let uri = path("v1", "invite", &[&room_id, &event_id]);
                let body = older_form(invite).map_err(|error| RequestError::bad_answer(server, &error.to_string()))?;
                let (_, answer): (u16, Answer) = self.put(server, &uri, body, limits).await?;
                Ok(answer.event)
            }
            answer => Ok(answer?.event),
        }
    }
}

fn is_of_older_server(error: &RequestError) -> bool {
    let unknown = [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND];
    matches!(error, RequestError::Refused { status, .. } if unknown.contains(status))
}

/// The event with the state in `unsigned`.
fn older_form(invite: &InviteRequest<'_>) -> Result<Bytes, serde_json::Error> {
    let mut event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(invite.event.get())?;
    let state = serde_json::to_value(invite.invite_room_state)?;
    event.insert("unsigned".to_owned(), serde_json::json!({ "invite_room_state": state }));
    Ok(serde_json::to_vec(&event)?.into())
}
