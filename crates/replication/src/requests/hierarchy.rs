//! A room of another server, and the children that it has.

use federation::RequestError;
use rooms::summaries::{RoomSummary, SpaceRoom};
use ruma::{OwnedRoomId, RoomId, ServerName};
use serde::Deserialize;
use tokio::time::Instant;

use super::{Limits, RoomRequests, path};

/// The longest answer: some thousand children with short topics.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// A room and its children, as another server tells them.
#[derive(Debug, Deserialize)]
pub struct ToldHierarchy {
    /// The room.
    pub room: SpaceRoom,
    /// Those of its children that the other server knows and that this one may know of.
    #[serde(default)]
    pub children: Vec<RoomSummary>,
    /// Those that this server may not know of, whoever is asked.
    #[serde(default)]
    pub inaccessible_children: Vec<OwnedRoomId>,
}

impl RoomRequests {
    /// Asks for a room and its children.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid>
    ///
    /// # Errors
    /// [`RequestError`], also if the answer is about another room.
    pub async fn hierarchy(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        suggested_only: bool,
        deadline: Instant,
    ) -> Result<ToldHierarchy, RequestError> {
        let path = path("v1", "hierarchy", &[&room_id]);
        let uri = format!("{path}?suggested_only={suggested_only}");
        let told: ToldHierarchy = self.get(server, &uri, Limits { bytes: MAX_ANSWER_BYTES, deadline }).await?;
        if told.room.summary.room.room_id != room_id {
            return Err(RequestError::bad_answer(server, "it is about another room"));
        }
        Ok(told)
    }
}
