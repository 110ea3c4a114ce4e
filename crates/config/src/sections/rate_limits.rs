use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::federation_rate::FederationRate;
use crate::values::{rate_per_second, whole_number};

/// Limits on how often one user, one address or one room may do what costs others. Each allows `burst` of its actions at once
/// and `per_second` of them in the long run; beyond that the answer is 429 with a time to come back. The names and the figures are those of
/// Synapse's `rc_…`, unless it is said. Administrators can lift or change the limits of single users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// Whether there are any limits.
    pub enabled: bool,
    /// Events, redactions, state, changes of membership, profiles and new rooms, for each user.
    pub message: Rate,
    /// Registrations, for each address.
    pub registration: Rate,
    /// Questions whether a user name is free, for each address. Not in Synapse's configuration.
    pub registration_available: Rate,
    /// Questions whether a registration token is valid, and attempts to register with one that is not, for each address.
    pub registration_token_validity: Rate,
    /// Beginnings of user-interactive authentication, for each user, or each address that registers. Not in Synapse's
    /// configuration.
    pub interactive_auth: Rate,
    /// Logins: `address` counts all attempts from an address, `account` the successful ones to an account, and
    /// `failed_attempts` those to an account with a wrong password, which also counts where a password is asked for again.
    pub login: LoginRates,
    /// Redactions of what others have sent, for each user; without it they count as messages.
    #[schemars(example = serde_json::json!({ "per_second": 1.0, "burst": 50 }))]
    pub admin_redaction: Option<Rate>,
    /// Joins, for each user: `local` where this server is in the room already, `remote` in addition where it is not.
    pub joins: JoinRates,
    /// Joins of all users together, for each room.
    pub joins_per_room: Rate,
    /// Invitations: `per_room`, `per_user` who is invited, `per_issuer` who invites. Invitations with a new room count for
    /// `per_room` alone.
    pub invites: InviteRates,
    /// Invitations by e-mail address or telephone number, for each user.
    pub third_party_invite: Rate,
    /// Mails that prove an e-mail address, for each address of clients that ask for them.
    pub third_party_validation: Rate,
    /// New and upgraded rooms, for each user.
    pub room_creation: Rate,
    /// Requests of other servers, for each server: over `sleep_limit` in `window_size` they are delayed by `sleep_delay`,
    /// over `reject_limit` that wait they are refused, and `concurrent` run at once.
    pub federation: FederationRate,
    /// New media without content yet, for each user. Nothing uses it yet.
    pub media_create: Rate,
    /// Changes of presence, for each user. One that a client only implies, by asking for news, is told later instead of refused.
    pub presence_per_user: Rate,
    /// Requests about delayed events, for each user. Nothing uses it yet.
    pub delayed_event_mgmt: Rate,
    /// Reports of content, for each user. Nothing uses it yet.
    pub reports: Rate,
    /// Pages of the directory of public rooms, for each user, or each address without a user. Not in Synapse's configuration.
    pub room_directory: Rate,
    /// Searches of the user directory, for each user.
    pub user_directory: Rate,
    /// Profiles and aliases of other servers that this server has to ask for, for each user, or each address without a user. Not in
    /// Synapse's configuration.
    pub remote_queries: Rate,
    /// Media that this server has to fetch of others, for each user, or each address without a user. Not in Synapse's configuration.
    pub remote_media: Rate,
    /// Other servers that this server has to ask for their keys, for each address that sends requests in their names. Not in
    /// Synapse's configuration.
    pub server_keys: Rate,
    /// Requests that send messages to devices, for each user. Not in Synapse's configuration.
    pub to_device: Rate,
    /// Tokens by which another device can log in, for each user. Not in Synapse's configuration.
    pub login_token: Rate,
    /// Requests to places where two clients meet before one of them is logged in, for each address. Not in Synapse's configuration.
    pub rendezvous: Rate,
}

/// How often something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How often in the long run.
    #[serde(deserialize_with = "rate_per_second")]
    #[schemars(range(min = 0.0001, max = 1_000_000.0))]
    pub per_second: f64,
    /// How often at once, after a pause.
    #[serde(deserialize_with = "whole_number::<_, 1, 100_000>")]
    #[schemars(range(min = 1, max = 100_000))]
    pub burst: u32,
}

/// How often one may log in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoginRates {
    /// Attempts from one address.
    pub address: Rate,
    /// Successful logins to one account.
    pub account: Rate,
    /// Failed attempts to log in to one account.
    pub failed_attempts: Rate,
}

/// How often one may join.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JoinRates {
    /// Rooms that this server is in.
    pub local: Rate,
    /// Rooms that this server has to join first.
    pub remote: Rate,
}

/// How often one may invite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InviteRates {
    /// To one room.
    pub per_room: Rate,
    /// Invitations of one user, by all others together.
    pub per_user: Rate,
    /// Invitations by one user, of all others together.
    pub per_issuer: Rate,
}

impl Rate {
    const fn new(per_second: f64, burst: u32) -> Self {
        Self { per_second, burst }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            enabled: true,
            message: Rate::new(0.2, 10),
            registration: Rate::new(0.17, 3),
            registration_available: Rate::new(1.0, 10),
            registration_token_validity: Rate::new(0.1, 5),
            interactive_auth: Rate::new(0.5, 20),
            login: LoginRates::default(),
            admin_redaction: None,
            joins: JoinRates::default(),
            joins_per_room: Rate::new(1.0, 10),
            invites: InviteRates::default(),
            third_party_invite: Rate::new(0.0025, 5),
            third_party_validation: Rate::new(0.003, 5),
            room_creation: Rate::new(0.016, 10),
            federation: FederationRate::default(),
            media_create: Rate::new(10.0, 50),
            presence_per_user: Rate::new(0.1, 1),
            delayed_event_mgmt: Rate::new(1.0, 5),
            reports: Rate::new(1.0, 5),
            room_directory: Rate::new(1.0, 50),
            user_directory: Rate::new(0.016, 200),
            remote_queries: Rate::new(1.0, 30),
            remote_media: Rate::new(5.0, 200),
            server_keys: Rate::new(2.0, 100),
            to_device: Rate::new(20.0, 500),
            login_token: Rate::new(0.017, 2),
            rendezvous: Rate::new(10.0, 100),
        }
    }
}

impl Default for LoginRates {
    fn default() -> Self {
        Self { address: Rate::new(0.003, 5), account: Rate::new(0.003, 5), failed_attempts: Rate::new(0.17, 3) }
    }
}

impl Default for JoinRates {
    fn default() -> Self {
        Self { local: Rate::new(0.1, 10), remote: Rate::new(0.01, 10) }
    }
}

impl Default for InviteRates {
    fn default() -> Self {
        Self { per_room: Rate::new(0.3, 10), per_user: Rate::new(0.003, 5), per_issuer: Rate::new(0.3, 10) }
    }
}
