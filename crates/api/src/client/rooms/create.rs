//! `POST /_matrix/client/v3/createRoom`

use std::sync::Arc;

use axum::extract::State;
use rooms::{ContentMap, InitialState, NewRoom, Preset, RoomCreation};
use ruma::{OwnedRoomId, OwnedUserId};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, ApiResult};
use crate::extract::{Authenticated, Json, Object};

/// What a client wants the room to be like. `null` stands for a key that is not there.
#[derive(Deserialize)]
pub(crate) struct Wish {
    visibility: Option<Visibility>,
    room_alias_name: Option<String>,
    name: Option<String>,
    topic: Option<String>,
    #[serde(default)]
    invite: Option<Vec<OwnedUserId>>,
    #[serde(default)]
    invite_3pid: Option<Vec<IgnoredAny>>,
    room_version: Option<String>,
    creation_content: Option<ContentMap>,
    initial_state: Option<Vec<Object<WishedState>>>,
    preset: Option<WishedPreset>,
    is_direct: Option<bool>,
    power_level_content_override: Option<ContentMap>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Visibility {
    Public,
    Private,
}

#[derive(Clone, Copy, Deserialize)]
enum WishedPreset {
    #[serde(rename = "private_chat")]
    Private,
    #[serde(rename = "trusted_private_chat")]
    TrustedPrivate,
    #[serde(rename = "public_chat")]
    Public,
}

#[derive(Deserialize)]
struct WishedState {
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
    Authenticated(requester): Authenticated,
    State(creation): State<Arc<RoomCreation>>,
    Json(wish): Json<Wish>,
) -> ApiResult<Json<RoomAnswer>> {
    if wish.invite_3pid.as_ref().is_some_and(|invites| !invites.is_empty()) {
        return Err(ApiError::forbidden(
            "Nobody can be invited by e-mail address or telephone number: this server uses no identity server",
        ));
    }
    let room_id = creation.create(&requester, &wish.into()).await?;
    Ok(Json(RoomAnswer { room_id }))
}

impl From<Wish> for NewRoom {
    fn from(wish: Wish) -> Self {
        let state = |Object(state): Object<WishedState>| InitialState {
            event_type: state.event_type,
            state_key: state.state_key,
            content: state.content,
        };
        Self {
            is_published: wish.visibility == Some(Visibility::Public),
            alias_localpart: wish.room_alias_name,
            name: wish.name,
            topic: wish.topic,
            invite: wish.invite.unwrap_or_default(),
            room_version: wish.room_version,
            creation_content: wish.creation_content.unwrap_or_default(),
            initial_state: wish.initial_state.unwrap_or_default().into_iter().map(state).collect(),
            preset: wish.preset.map(|preset| match preset {
                WishedPreset::Private => Preset::PrivateChat,
                WishedPreset::TrustedPrivate => Preset::TrustedPrivateChat,
                WishedPreset::Public => Preset::PublicChat,
            }),
            is_direct: wish.is_direct.unwrap_or_default(),
            power_level_content_override: wish.power_level_content_override.unwrap_or_default(),
        }
    }
}
