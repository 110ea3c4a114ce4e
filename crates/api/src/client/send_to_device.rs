//! `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`

use std::sync::Arc;

use axum::extract::State;
use encryption::to_device::{ToDevice, ToDeviceError, ToDeviceMessages};
use serde::Deserialize;

use crate::Empty;
use crate::client::error::{ClientError, ClientResult};
use crate::error::ApiError;
use crate::extract::{Content, EventType, GuestOrUser, Json, Path, TransactionId};

#[derive(Deserialize)]
pub(crate) struct Body {
    messages: ToDeviceMessages,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid>
pub(crate) async fn send_to_device(
    GuestOrUser(requester): GuestOrUser,
    Path((event_type, transaction_id)): Path<(EventType, TransactionId)>,
    State(to_device): State<Arc<ToDevice>>,
    Content(body): Content<Body>,
) -> ClientResult<Json<Empty>> {
    to_device.send(&requester, &event_type, &transaction_id, body.messages).await?;
    Ok(Json(Empty {}))
}

impl From<ToDeviceError> for ClientError {
    fn from(error: ToDeviceError) -> Self {
        Self(match error {
            ToDeviceError::NotAnObject { .. } => ApiError::bad_json(error.to_string()),
            ToDeviceError::TooLarge { .. } | ToDeviceError::TooMany | ToDeviceError::TooMuch { .. } => {
                ApiError::too_large(error.to_string())
            }
            ToDeviceError::QueueFull { .. } => ApiError::resource_limit_exceeded(error.to_string()),
            ToDeviceError::LimitExceeded(error) => error.into(),
            ToDeviceError::Storage(error) => error.into(),
        })
    }
}
