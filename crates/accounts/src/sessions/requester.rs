//! The user who makes a request.

use std::sync::Arc;

use homeserver_core::{DeviceSn, UserSn};
use ruma::{OwnedDeviceId, OwnedUserId};

use super::endings::Ending;

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
    /// Whether the account is locked: then nothing but logging out is possible.
    pub is_locked: bool,
    /// Whether the account is suspended: then the user changes nothing that others see.
    pub is_suspended: bool,
    /// Whether rate limits apply: not to what the server does for the user by itself, and not to users of an application service
    /// whose registration says so.
    pub is_rate_limited: bool,
    pub(super) ending: Arc<Ending>,
}

impl Requester {
    /// A user on whose behalf the server goes on with what was asked for earlier.
    #[must_use]
    pub fn on_behalf_of(user_sn: UserSn, user_id: OwnedUserId) -> Self {
        let (device_sn, device_id) = (None, None);
        Self {
            user_sn,
            user_id,
            device_sn,
            device_id,
            is_guest: false,
            is_admin: false,
            is_locked: false,
            is_suspended: false,
            is_rate_limited: false,
            ending: Arc::default(),
        }
    }

    /// Whether the session has ended since the request began: a request that has waited asks.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.ending.has_ended()
    }

    /// Waits until the session has ended, wherever that was done: what other nodes end is noticed at once, what commands beside a server
    /// on SQLite end within a second.
    pub async fn left(&self) {
        self.ending.wait().await;
    }
}
