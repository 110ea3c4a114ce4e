//! `PUT /_matrix/federation/v1/send/{txnId}`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use replication::receiving::{Receiving, ReceivingError, Transaction};

use super::error::{FederationError, FederationResult};
use super::signed::{Signed, TRANSACTION_LIMIT_BYTES};
use crate::error::ApiError;
use crate::extract::{Path, json_bytes};

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid>
pub(crate) async fn send(
    Path(transaction_id): Path<String>,
    State(receiving): State<Arc<Receiving>>,
    signed: Signed<Transaction, TRANSACTION_LIMIT_BYTES>,
) -> FederationResult<Response> {
    Ok(json_bytes(receiving.transaction(&signed.origin, &transaction_id, signed.body).await?))
}

impl From<ReceivingError> for FederationError {
    fn from(error: ReceivingError) -> Self {
        let sentence = error.to_string();
        match error {
            ReceivingError::TooMany { .. } => Self(ApiError::invalid_param(sentence)),
            ReceivingError::Room(error) => error.into(),
            ReceivingError::Ended => Self(ApiError::unavailable(sentence)),
        }
    }
}
