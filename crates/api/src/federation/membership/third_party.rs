//! `PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}`

use std::sync::Arc;

use accounts::asking::Asker;
use axum::extract::State;
use replication::memberships::{SharedMemberships, ThirdPartyInvite};
use rooms::ContentMap;
use ruma::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;

use crate::Empty;
use crate::error::ApiError;
use crate::extract::{ClientAddress, Json, Path};
use crate::federation::error::FederationResult;
use crate::federation::signed::Signed;

#[derive(Deserialize)]
pub(crate) struct Body {
    #[serde(rename = "type")]
    event_type: String,
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    state_key: OwnedUserId,
    content: ContentMap,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid>
pub(crate) async fn exchange(
    Path(room_id): Path<OwnedRoomId>,
    ClientAddress(address): ClientAddress,
    State(memberships): State<Arc<SharedMemberships>>,
    Signed { origin, body, .. }: Signed<Body>,
) -> FederationResult<Json<Empty>> {
    if body.event_type != "m.room.member" || body.room_id != room_id {
        return Err(ApiError::invalid_param("The event is not a member event of the room").into());
    }
    let invite = ThirdPartyInvite { sender: body.sender, target: body.state_key, content: body.content };
    memberships.exchange_third_party_invite(&origin, &room_id, &invite, Asker::Address(address)).await?;
    Ok(Json(Empty {}))
}
