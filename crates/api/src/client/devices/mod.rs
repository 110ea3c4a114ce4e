//! `/_matrix/client/v3/devices…` and `/_matrix/client/v3/delete_devices`

mod delete;
mod list;
mod one;

pub(super) use self::delete::{delete_many, delete_one};
pub(super) use self::list::list;
pub(super) use self::one::{read, rename};

use accounts::devices::{Device, DevicesError};
use serde::Serialize;

use crate::client::error::ClientError;
use crate::error::ApiError;

/// A device as its owner sees it.
///
/// The specification lets a server leave out what it does not know, but clients in use (matrix-nio) refuse a list with a key
/// left out: an unknown text is empty.
#[derive(Serialize)]
pub(super) struct DeviceEntry {
    device_id: String,
    display_name: String,
    last_seen_ip: String,
    last_seen_ts: i64,
}

impl From<Device> for DeviceEntry {
    fn from(device: Device) -> Self {
        Self {
            device_id: device.device_id,
            display_name: device.display_name.unwrap_or_default(),
            last_seen_ip: device.last_seen_address.unwrap_or_default(),
            last_seen_ts: device.last_seen_at.unwrap_or(device.created_at).0,
        }
    }
}

impl From<DevicesError> for ClientError {
    fn from(error: DevicesError) -> Self {
        Self(match error {
            DevicesError::NoSuchDevice => ApiError::not_found(error.to_string()),
            DevicesError::NameTooLong => {
                ApiError::too_large(error.to_string()).with_status(http::StatusCode::BAD_REQUEST)
            }
            DevicesError::TooMany => ApiError::invalid_param(error.to_string()),
            DevicesError::Storage(error) => error.into(),
        })
    }
}
