//! `/_matrix/client/v3/user/{userId}/account_data/{type}`, and the same for rooms

mod global;
mod room;

pub(super) use self::global::{read_global, set_global};
pub(super) use self::room::{read_room, set_room};

use accounts::account_data::AccountDataError;
use bytes::Bytes;
use http::StatusCode;
use serde_json::value::RawValue;

use crate::client::error::ClientError;
use crate::error::ApiError;

/// The content as the client wrote it.
fn bytes_of(content: Box<RawValue>) -> Bytes {
    Bytes::from(String::from(Box::<str>::from(content)))
}

impl From<AccountDataError> for ClientError {
    fn from(error: AccountDataError) -> Self {
        Self(match error {
            AccountDataError::ServerControlled(_) => {
                ApiError::bad_json(error.to_string()).with_status(StatusCode::METHOD_NOT_ALLOWED)
            }
            AccountDataError::InvalidType => ApiError::invalid_param(error.to_string()),
            AccountDataError::NotFound | AccountDataError::NoSuchRoom => ApiError::not_found(error.to_string()),
            AccountDataError::Storage(error) => error.into(),
        })
    }
}
