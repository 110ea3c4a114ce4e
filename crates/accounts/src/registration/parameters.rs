//! What a registration is to do, remembered between its stages.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::accounts::PasswordProof;
use crate::devices::MAX_NAME_CHARS;
use crate::sessions::{CheckedDevice, DeviceError, SessionDevice};
use crate::uia::Parameters;

/// What a client wants to register.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
pub struct RegisterParameters {
    /// What the user wants to be called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// An ID that the client has chosen for the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// What to call the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// Whether the user is not to be logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inhibit_login: Option<bool>,
    /// Whether the client can handle an access token that expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wants_refresh_token: Option<bool>,
}

impl RegisterParameters {
    /// The device to log in, at this address.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn device(&self, address: Option<IpAddr>) -> Result<CheckedDevice, DeviceError> {
        CheckedDevice::try_from(SessionDevice {
            device_id: self.device_id.clone(),
            display_name: self.device_name.clone(),
            wants_refresh_token: self.wants_refresh_token.unwrap_or(false),
            address,
        })
    }

    /// Whether the user is to be logged in.
    #[must_use]
    pub fn logs_in(&self) -> bool {
        !self.inhibit_login.unwrap_or(false)
    }

    /// With no longer a name than a device can have.
    #[must_use]
    pub fn cut(mut self) -> Self {
        self.device_name = self.device_name.map(|name| name.chars().take(MAX_NAME_CHARS).collect());
        self
    }
}

impl Parameters for RegisterParameters {
    /// The user name may change between the stages, because the first may be taken: no stage is bound to a name.
    fn complete(self, before: Self) -> Option<Self> {
        Some(Self {
            username: self.username.or(before.username),
            device_id: self.device_id.or(before.device_id),
            device_name: self.device_name.or(before.device_name),
            inhibit_login: self.inhibit_login.or(before.inhibit_login),
            wants_refresh_token: self.wants_refresh_token.or(before.wants_refresh_token),
        })
    }

    fn repeat(&self, done: &Self) -> bool {
        let Some(name) = &self.username else { return true };
        done.username.as_ref().is_some_and(|before| before.eq_ignore_ascii_case(name))
    }
}

/// An account that was registered, for the client that asks again.
#[derive(Serialize, Deserialize)]
pub(super) struct RegisteredBefore {
    pub(super) proof: PasswordProof,
    /// The device that was logged in.
    pub(super) device_id: Option<String>,
}
