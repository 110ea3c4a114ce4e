//! `POST /_matrix/client/v3/createRoom`

use std::sync::Arc;

use axum::extract::State;
use replication::memberships::SharedMemberships;
use rooms::{ContentMap, InitialState, NewRoom, Preset, RoomCreation};
use ruma::{OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};

use super::address::Address;
use crate::client::error::ClientResult;
use crate::error::ApiError;
use crate::extract::{Authenticated, Json, Object, Unsuspended};

/// So many addresses are invited to a new room.
const MAX_ADDRESSES: usize = 10;

/// What a client wants the room to be like. `null` stands for a key that is not there.
#[derive(Deserialize)]
pub(crate) struct Body {
    visibility: Option<DirectoryVisibility>,
    room_alias_name: Option<String>,
    name: Option<String>,
    topic: Option<String>,
    #[serde(default)]
    invite: Option<Vec<OwnedUserId>>,
    #[serde(default)]
    invite_3pid: Option<Vec<Object<Address>>>,
    room_version: Option<String>,
    creation_content: Option<ContentMap>,
    initial_state: Option<Vec<Object<StateEvent>>>,
    preset: Option<PresetName>,
    is_direct: Option<bool>,
    power_level_content_override: Option<ContentMap>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DirectoryVisibility {
    Public,
    Private,
}

#[derive(Clone, Copy, Deserialize)]
enum PresetName {
    #[serde(rename = "private_chat")]
    Private,
    #[serde(rename = "trusted_private_chat")]
    TrustedPrivate,
    #[serde(rename = "public_chat")]
    Public,
}

#[derive(Deserialize)]
struct StateEvent {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default)]
    state_key: String,
    content: ContentMap,
}

#[derive(Serialize)]
pub(crate) struct RoomAnswer {
    pub(super) room_id: OwnedRoomId,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom>
pub(crate) async fn create(
    Unsuspended(Authenticated(requester)): Unsuspended<Authenticated>,
    State(creation): State<Arc<RoomCreation>>,
    State(memberships): State<Arc<SharedMemberships>>,
    Json(mut body): Json<Body>,
) -> ClientResult<Json<RoomAnswer>> {
    let addresses = body.invite_3pid.take().unwrap_or_default();
    if addresses.len() > MAX_ADDRESSES {
        return Err(ApiError::invalid_param(format!("invite_3pid: more than {MAX_ADDRESSES} addresses")).into());
    }
    let new_room = body.into();
    let room_id = creation.create(&requester, &new_room).await?;
    memberships.invite_to_new_room(&requester, &room_id, &new_room).await;
    let addresses = addresses.into_iter().map(|Object(address)| address.into());
    memberships.invite_addresses_to_new_room(&requester, &room_id, addresses.collect(), new_room.is_direct).await;
    Ok(Json(RoomAnswer { room_id }))
}

impl From<Body> for NewRoom {
    fn from(body: Body) -> Self {
        let state = |Object(state): Object<StateEvent>| InitialState {
            event_type: state.event_type,
            state_key: state.state_key,
            content: state.content,
        };
        Self {
            is_published: body.visibility == Some(DirectoryVisibility::Public),
            alias_localpart: body.room_alias_name,
            name: body.name,
            topic: body.topic,
            invite: body.invite.unwrap_or_default(),
            room_version: body.room_version,
            creation_content: body.creation_content.unwrap_or_default(),
            initial_state: body.initial_state.unwrap_or_default().into_iter().map(state).collect(),
            preset: body.preset.map(|preset| match preset {
                PresetName::Private => Preset::PrivateChat,
                PresetName::TrustedPrivate => Preset::TrustedPrivateChat,
                PresetName::Public => Preset::PublicChat,
            }),
            is_direct: body.is_direct.unwrap_or_default(),
            power_level_content_override: body.power_level_content_override.unwrap_or_default(),
        }
    }
}
