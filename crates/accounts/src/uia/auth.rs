//! What a client sends to complete a stage.

use serde::Deserialize;

use crate::object::Object;

/// The key `auth` of a request.
#[derive(Clone, Default, Deserialize)]
pub struct Auth {
    /// The stage that the client wants to complete, by its name in the specification.
    #[serde(rename = "type", default)]
    pub(super) stage: Option<String>,
    #[serde(default)]
    pub(super) session: Option<String>,
    #[serde(default)]
    pub(super) identifier: Option<Object<UserIdentifier>>,
    #[serde(default)]
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) password: Option<String>,
    #[serde(default)]
    pub(super) token: Option<String>,
    #[serde(default)]
    pub(super) threepid_creds: Option<Object<ThreepidCredentials>>,
    /// The same, as clients called it before the specification had it.
    #[serde(default, rename = "threepidCreds")]
    pub(super) old_threepid_creds: Option<Object<ThreepidCredentials>>,
}

/// Names a validation session, and proves that it is the client's own. An identity server that a client names as well does
/// not matter: this server validates addresses itself.
#[derive(Clone, Deserialize)]
pub(super) struct ThreepidCredentials {
    pub(super) sid: String,
    pub(super) client_secret: String,
}

/// Who a client says the user is.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#identifier-types>
#[derive(Clone, Deserialize, Debug)]
pub struct UserIdentifier {
    /// `m.id.user`, `m.id.thirdparty`, or a type that this server does not know.
    #[serde(rename = "type")]
    pub kind: String,
    /// The user's ID or its localpart.
    #[serde(default)]
    pub user: Option<String>,
    /// Of a third-party identifier: what kind of address it is.
    #[serde(default)]
    pub medium: Option<String>,
    /// Of a third-party identifier: the address.
    #[serde(default)]
    pub address: Option<String>,
}
