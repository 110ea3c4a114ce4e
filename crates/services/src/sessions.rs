//! Who an access token belongs to.

use std::collections::HashMap;
use std::net::IpAddr;

use homeserver_core::{DeviceSn, UserSn};
use parking_lot::RwLock;
use ruma::{OwnedDeviceId, OwnedUserId};

/// The user who makes a request.
#[derive(Clone, Debug)]
pub struct Requester {
    /// The user.
    pub user_sn: UserSn,
    /// The user's ID.
    pub user_id: OwnedUserId,
    /// The device that the access token belongs to; none for an application service acting for the user.
    pub device_sn: Option<DeviceSn>,
    /// The device's ID.
    pub device_id: Option<OwnedDeviceId>,
    /// Whether the account is a guest's.
    pub is_guest: bool,
    /// Whether the user administers this server.
    pub is_admin: bool,
}

/// Where a request came from, for the list of devices.
#[derive(Clone, Copy, Default, Debug)]
pub struct Contact<'a> {
    /// The client's address, if it is known.
    pub address: Option<IpAddr>,
    /// The client's `User-Agent`.
    pub user_agent: Option<&'a str>,
}

/// Why an access token was refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// Never issued, or logged out.
    #[error("unknown access token")]
    UnknownToken,
    /// Issued, but expired by now; the device still exists.
    #[error("expired access token")]
    ExpiredToken,
}

/// The sessions of this server's users.
#[derive(Default)]
pub struct Sessions {
    known: RwLock<HashMap<String, Requester>>,
}

impl Sessions {
    /// Whose `token` it is. `contact` is remembered as the device's last.
    pub async fn authenticate(&self, token: &str, _contact: Contact<'_>) -> Result<Requester, AuthenticationError> {
        self.known.read().get(token).cloned().ok_or(AuthenticationError::UnknownToken)
    }

    /// Makes `token` known.
    pub fn remember(&self, token: String, requester: Requester) {
        self.known.write().insert(token, requester);
    }
}
