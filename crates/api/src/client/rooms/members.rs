//! `GET /_matrix/client/v3/rooms/{roomId}/members`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use rooms::reading::{MemberQuery, Membership, RoomState};
use ruma::OwnedRoomId;
use serde::Deserialize;

use super::reading::position;
use crate::client::error::ClientResult;
use crate::extract::{GuestOrUser, Path, Query, json_bytes};

#[derive(Deserialize, Debug)]
pub(crate) struct Parameters {
    at: Option<String>,
    membership: Option<MembershipParameter>,
    not_membership: Option<MembershipParameter>,
}

#[derive(Clone, Copy, Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
enum MembershipParameter {
    Join,
    Invite,
    Knock,
    Leave,
    Ban,
}

impl From<MembershipParameter> for Membership {
    fn from(parameter: MembershipParameter) -> Self {
        match parameter {
            MembershipParameter::Join => Self::Join,
            MembershipParameter::Invite => Self::Invite,
            MembershipParameter::Knock => Self::Knock,
            MembershipParameter::Leave => Self::Leave,
            MembershipParameter::Ban => Self::Ban,
        }
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers>
pub(crate) async fn members(
    GuestOrUser(requester): GuestOrUser,
    Path(room_id): Path<OwnedRoomId>,
    Query(parameters): Query<Parameters>,
    State(room_state): State<Arc<RoomState>>,
) -> ClientResult<Response> {
    let query = MemberQuery {
        at: position("at", parameters.at.as_deref())?,
        membership: parameters.membership.map(Membership::from),
        not_membership: parameters.not_membership.map(Membership::from),
    };
    Ok(json_bytes(room_state.members(&requester, &room_id, query).await?))
}
