//! `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`

use std::sync::Arc;

use axum::extract::State;
use ruma::{OwnedEventId, OwnedRoomId};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sync::presence::Presences;
use sync::receipts::{Marker, ReceiptError, Receipts};

use crate::Empty;
use crate::client::error::{ClientError, ClientResult};
use crate::error::ApiError;
use crate::extract::{GuestOrUser, Json, Path};

#[derive(Deserialize, Debug)]
pub(crate) struct Body {
    #[serde(default, deserialize_with = "given")]
    thread_id: Option<Value>,
}

/// A value that is given, which a `null` is, too.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid>
pub(crate) async fn receipt(
    GuestOrUser(requester): GuestOrUser,
    Path((room_id, receipt_type, event_id)): Path<(OwnedRoomId, String, OwnedEventId)>,
    State(receipts): State<Arc<Receipts>>,
    State(presences): State<Arc<Presences>>,
    Json(Body { thread_id }): Json<Body>,
) -> ClientResult<Json<Empty>> {
    presences.act(&requester);
    let marker = Marker::parse(&receipt_type)?;
    let thread_id = match &thread_id {
        None => None,
        Some(Value::String(thread_id)) => Some(thread_id.as_str()),
        Some(_) => return Err(ApiError::invalid_param("thread_id: must be a string that is not empty").into()),
    };
    receipts.mark(&requester, &room_id, marker, &event_id, thread_id).await?;
    Ok(Json(Empty {}))
}

impl From<ReceiptError> for ClientError {
    fn from(error: ReceiptError) -> Self {
        Self(match error {
            ReceiptError::NotInRoom => ApiError::forbidden(error.to_string()),
            ReceiptError::NoSuchEvent(_) => ApiError::not_found(error.to_string()),
            ReceiptError::UnknownType(_) | ReceiptError::InvalidThread(_) => ApiError::invalid_param(error.to_string()),
            ReceiptError::Storage(error) => error.into(),
        })
    }
}
