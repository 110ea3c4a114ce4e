//! `POST /_matrix/client/v3/rooms/{roomId}/read_markers`

use std::sync::Arc;

use axum::extract::State;
use ruma::{EventId, OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use sync::presence::Presences;
use sync::receipts::{Marker, Receipts};

use crate::Empty;
use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Json, Path};

#[derive(Deserialize, Debug)]
pub(crate) struct Markers {
    #[serde(rename = "m.fully_read")]
    fully_read: Option<OwnedEventId>,
    #[serde(rename = "m.read")]
    read: Option<OwnedEventId>,
    #[serde(rename = "m.read.private")]
    read_private: Option<OwnedEventId>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers>
pub(crate) async fn read_markers(
    GuestOrUser(requester): GuestOrUser,
    Path(room_id): Path<OwnedRoomId>,
    State(receipts): State<Arc<Receipts>>,
    State(presences): State<Arc<Presences>>,
    Json(Markers { fully_read, read, read_private }): Json<Markers>,
) -> ClientResult<Json<Empty>> {
    presences.act(&requester);
    let mut markers: Vec<(Marker, &EventId)> = Vec::new();
    for (name, event_id) in [("m.read", &read), ("m.read.private", &read_private), ("m.fully_read", &fully_read)] {
        if let Some(event_id) = event_id {
            markers.push((Marker::parse(name)?, event_id));
        }
    }
    receipts.mark_several(&requester, &room_id, &markers).await?;
    Ok(Json(Empty {}))
}
