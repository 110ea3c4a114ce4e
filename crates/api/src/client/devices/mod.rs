//! `/_matrix/client/v3/devices…` and `/_matrix/client/v3/delete_devices`

mod delete;
mod list;
mod one;

pub(super) use self::delete::{delete_many, delete_one};
pub(super) use self::list::list;
pub(super) use self::one::{read, rename};

use serde::Serialize;
use services::devices::{Device, DevicesError};

use crate::error::ApiError;

/// A device as its owner sees it.
#[derive(Serialize)]
pub(super) struct DeviceEntry {
    device_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_ts: Option<i64>,
}

impl From<Device> for DeviceEntry {
    fn from(device: Device) -> Self {
        Self {
            device_id: device.device_id,
            display_name: device.display_name,
            last_seen_ip: device.last_seen_address,
            last_seen_ts: device.last_seen_at.map(|at| at.0),
        }
    }
}

impl From<DevicesError> for ApiError {
    fn from(error: DevicesError) -> Self {
        match error {
            DevicesError::NoSuchDevice => Self::not_found(error.to_string()),
            DevicesError::NameTooLong => Self::too_large(error.to_string()).with_status(http::StatusCode::BAD_REQUEST),
            DevicesError::TooMany => Self::invalid_param(error.to_string()),
            DevicesError::Storage(error) => error.into(),
        }
    }
}
