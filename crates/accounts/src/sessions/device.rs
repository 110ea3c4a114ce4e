//! The device that a session is for.

use std::net::IpAddr;

use homeserver_core::random_string;

use crate::devices::MAX_NAME_CHARS;

/// The longest device ID, in bytes.
pub const MAX_DEVICE_ID_BYTES: usize = 255;

/// The device that a new session is for.
#[derive(Clone, Default, Debug)]
pub struct SessionDevice {
    /// An ID that the client has chosen, perhaps of a device that it had before.
    pub device_id: Option<String>,
    /// What to call the device if it is new; what is beyond the longest name is cut off.
    pub display_name: Option<String>,
    /// Whether the client can handle an access token that expires.
    pub wants_refresh_token: bool,
    /// Where the client is, if that is known.
    pub address: Option<IpAddr>,
}

/// Why a session cannot be opened for a device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The device ID is empty or too long.
    #[error("A device ID has between 1 and {MAX_DEVICE_ID_BYTES} bytes")]
    InvalidId,
}

/// A device for a new session, with an ID and within the limits.
#[derive(Clone, Default, Debug)]
pub struct CheckedDevice {
    pub(crate) device_id: String,
    pub(crate) display_name: Option<String>,
    pub(crate) wants_refresh_token: bool,
    pub(crate) address: Option<IpAddr>,
}

impl TryFrom<SessionDevice> for CheckedDevice {
    type Error = DeviceError;

    fn try_from(device: SessionDevice) -> Result<Self, DeviceError> {
        let device_id = device.device_id.unwrap_or_else(|| random_string(10).to_ascii_uppercase());
        if device_id.is_empty() || device_id.len() > MAX_DEVICE_ID_BYTES {
            return Err(DeviceError::InvalidId);
        }
        let SessionDevice { display_name, wants_refresh_token, address, .. } = device;
        // Clients make this name, and one that makes a longer name must be able to log in.
        let display_name = display_name.map(|name| name.chars().take(MAX_NAME_CHARS).collect());
        Ok(Self { device_id, display_name, wants_refresh_token, address })
    }
}
