//! `GET /_matrix/client/v1/room_summary/{roomIdOrAlias}`

use std::sync::Arc;

use accounts::asking::Asker;
use accounts::rate_limits::{LimitedAction, RateLimits};
use axum::extract::State;
use homeserver_core::Identity;
use replication::hierarchy::{Hierarchies, SummaryFor};
use rooms::Aliases;
use ruma::{OwnedRoomOrAliasId, RoomId};

use super::via::Via;
use crate::client::error::ClientResult;
use crate::extract::{ClientAddress, Json, OptionalAuthenticated, Path, Query};

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias>
pub(crate) async fn summary(
    OptionalAuthenticated(requester): OptionalAuthenticated,
    ClientAddress(address): ClientAddress,
    Path(room): Path<OwnedRoomOrAliasId>,
    Query(via): Query<Via>,
    State(identity): State<Arc<Identity>>,
    State(aliases): State<Arc<Aliases>>,
    (State(rate_limits), State(hierarchies)): (State<Arc<RateLimits>>, State<Arc<Hierarchies>>),
) -> ClientResult<Json<SummaryFor>> {
    let asker = requester.as_ref().map_or(Asker::Address(address), Asker::User);
    rate_limits.spend(LimitedAction::RoomDirectory, asker.key(), asker.requester())?.keep();
    let mut via = via.servers();
    let room_id = match <&RoomId>::try_from(&*room) {
        Ok(room_id) => room_id.to_owned(),
        Err(alias) if alias.server_name() == identity.server_name => aliases.resolve(alias).await?.0,
        Err(alias) => {
            let (room_id, servers) = hierarchies.resolve_elsewhere(asker, alias).await?;
            via.extend(servers);
            room_id
        }
    };
    Ok(Json(hierarchies.summary(asker, &room_id, &via).await?))
}
