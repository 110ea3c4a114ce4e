//! `PUT /_matrix/federation/v1/3pid/onbind`

use std::sync::Arc;

use accounts::asking::Asker;
use axum::extract::State;
use replication::memberships::{BoundInvite, SharedMemberships};
use rooms::ContentMap;
use ruma::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;

use crate::Empty;
use crate::error::ApiError;
use crate::extract::{ClientAddress, Json, Object};
use crate::federation::error::FederationResult;

/// So many invitations are exchanged for one address.
const MAX_INVITES: usize = 50;

#[derive(Deserialize)]
pub(crate) struct Body {
    mxid: OwnedUserId,
    invites: Vec<Object<Invite>>,
}

#[derive(Deserialize)]
struct Invite {
    mxid: OwnedUserId,
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    signed: ContentMap,
}

/// Identity servers do not sign the request: what they say is proved by the signature in each invitation, which the room checks.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv13pidonbind>
pub(crate) async fn bound(
    ClientAddress(address): ClientAddress,
    State(memberships): State<Arc<SharedMemberships>>,
    Json(body): Json<Body>,
) -> FederationResult<Json<Empty>> {
    if body.invites.len() > MAX_INVITES {
        return Err(ApiError::invalid_param(format!("invites: more than {MAX_INVITES}")).into());
    }
    let invites = body.invites.into_iter().map(|Object(invite)| invite).filter(|invite| invite.mxid == body.mxid);
    let invites =
        invites.map(|Invite { mxid, room_id, sender, signed }| BoundInvite { room_id, sender, target: mxid, signed });
    memberships.address_was_bound(&invites.collect::<Vec<_>>(), Asker::Address(address)).await?;
    Ok(Json(Empty {}))
}
