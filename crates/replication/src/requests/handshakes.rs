//! The handshakes by which a user of this server joins, leaves, or knocks on a room of other servers: a template of the event is
//! asked for, and the signed event is sent.

use bytes::Bytes;
use federation::RequestError;
use room_engine::RoomVersion;
use ruma::{EventId, RoomId, ServerName, UserId};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::time::Instant;
use url::form_urlencoded;

use super::{Limits, RoomRequests, path};

/// The longest template: an event, and escapes of JSON.
const MAX_TEMPLATE_BYTES: usize = 256 << 10;
/// The longest answer to an event that was sent, but for a join.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What a user is to become to a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handshake {
    /// A member.
    Join,
    /// Somebody who is not in it.
    Leave,
    /// Somebody who has asked to be let in.
    Knock,
}

/// An event that another server proposes for signing.
#[derive(Debug)]
pub struct Template {
    /// The version of the room, as the other server says.
    pub room_version: RoomVersion,
    /// The event, which may be anything.
    pub event: Box<RawValue>,
}

#[derive(Deserialize)]
struct TemplateAnswer {
    #[serde(default)]
    room_version: Option<String>,
    event: Box<RawValue>,
}

#[derive(Deserialize)]
struct KnockAnswer {
    #[serde(default)]
    knock_room_state: Vec<Box<RawValue>>,
}

impl Handshake {
    fn make(self) -> &'static str {
        match self {
            Self::Join => "make_join",
            Self::Leave => "make_leave",
            Self::Knock => "make_knock",
        }
    }

    /// A room version is negotiated where the server does not know the room yet.
    fn names_versions(self) -> bool {
        self != Self::Leave
    }
}

impl RoomRequests {
    /// Asks for the template of a member event.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid>
    ///
    /// # Errors
    /// [`RequestError`]; [`RequestError::BadAnswer`] also if the room has a version that this server does not know.
    pub async fn template(
        &self,
        server: &ServerName,
        handshake: Handshake,
        room_id: &RoomId,
        user_id: &UserId,
        deadline: Instant,
    ) -> Result<Template, RequestError> {
        let mut uri = path("v1", handshake.make(), &[&room_id, &user_id]);
        if handshake.names_versions() {
            let versions = RoomVersion::ALL.map(|version| ("ver", version.as_str()));
            uri.push('?');
            uri.push_str(&form_urlencoded::Serializer::new(String::new()).extend_pairs(versions).finish());
        }
        let answer: TemplateAnswer = self.insist(server, &uri, Limits { bytes: MAX_TEMPLATE_BYTES, deadline }).await?;
        // The first version had no name.
        let room_version = answer.room_version.as_deref().unwrap_or("1").parse();
        let room_version = room_version
            .map_err(|_| RequestError::bad_answer(server, "the room has a version that this server does not know"))?;
        Ok(Template { room_version, event: answer.event })
    }

    /// Sends the signed event by which a user leaves a room, or declines an invitation.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid>
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn send_leave(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        event: Bytes,
        deadline: Instant,
    ) -> Result<(), RequestError> {
        let limits = Limits { bytes: MAX_ANSWER_BYTES, deadline };
        let uri = path("v2", "send_leave", &[&room_id, &event_id]);
        let sent = self.put::<IgnoredAny>(server, &uri, event.clone(), limits);
        match sent.await {
            Err(error) if error.is_unrecognized() => {
                let uri = path("v1", "send_leave", &[&room_id, &event_id]);
                self.put::<IgnoredAny>(server, &uri, event, limits).await.map(drop)
            }
            sent => sent.map(drop),
        }
    }

    /// Sends the signed event by which a user knocks on a room, and returns the state that introduces the room.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid>
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn send_knock(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        event: Bytes,
        deadline: Instant,
    ) -> Result<Vec<Box<RawValue>>, RequestError> {
        let uri = path("v1", "send_knock", &[&room_id, &event_id]);
        let limits = Limits { bytes: MAX_ANSWER_BYTES, deadline };
        Ok(self.put::<KnockAnswer>(server, &uri, event, limits).await?.knock_room_state)
    }
}
