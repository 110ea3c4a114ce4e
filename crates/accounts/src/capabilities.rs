//! What this server tells its users that they can do.

use bytes::Bytes;
use homeserver_core::Live;
use ruma::RoomVersionId;
use serde_json::json;

/// The answer of `/capabilities`, made when the configuration is read.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation>
#[derive(Debug)]
pub struct Capabilities {
    document: Live<Bytes>,
    of_administrators: Live<Bytes>,
}

/// What the answer depends on.
#[derive(Clone, Debug)]
pub struct CapabilityOptions {
    /// The version of rooms that are created without one.
    pub default_room_version: RoomVersionId,
    /// The versions that rooms here can have.
    pub room_versions: Vec<RoomVersionId>,
    /// Whether accounts have passwords.
    pub passwords_enabled: bool,
    /// Whether users can change the e-mail addresses of their accounts.
    pub email_enabled: bool,
}

impl Capabilities {
    /// The capabilities of a server with these options.
    #[must_use]
    pub fn new(options: &CapabilityOptions) -> Self {
        Self { document: Live::new(document(options, false)), of_administrators: Live::new(document(options, true)) }
    }

    /// Answers by other options from now on.
    pub fn reconfigure(&self, options: &CapabilityOptions) {
        self.document.replace(document(options, false));
        self.of_administrators.replace(document(options, true));
    }

    /// The body of the answer to a user, or to an administrator.
    #[must_use]
    pub fn document(&self, is_admin: bool) -> Bytes {
        if is_admin { self.of_administrators.read().clone() } else { self.document.read().clone() }
    }
}

fn document(options: &CapabilityOptions, is_admin: bool) -> Bytes {
    let available = options.room_versions.iter().map(|version| (version.to_string(), "stable".into()));
    let available: serde_json::Map<_, _> = available.collect();
    let mut capabilities = json!({
        "m.change_password": { "enabled": options.passwords_enabled },
        "m.room_versions": { "default": options.default_room_version, "available": available },
        "m.set_displayname": { "enabled": true },
        "m.set_avatar_url": { "enabled": true },
        "m.profile_fields": { "enabled": true },
        "m.3pid_changes": { "enabled": options.email_enabled },
        "m.get_login_token": { "enabled": options.passwords_enabled },
        "m.forget_forced_upon_leave": { "enabled": false },
    });
    if let (true, Some(capabilities)) = (is_admin, capabilities.as_object_mut()) {
        capabilities.insert("m.account_moderation".to_owned(), json!({ "suspend": true, "lock": true }));
    }
    Bytes::from(json!({ "capabilities": capabilities }).to_string())
}
