use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::WebUrl;

/// Whom people can ask for help, as `.well-known/matrix/support` tells. Without a contact and a page it tells nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Support {
    /// People: each with a `role` ("m.role.admin" or "m.role.security"), and a `matrix_id`, an `email_address`, or both.
    pub contacts: Vec<SupportContact>,
    /// A page with more.
    #[schemars(example = "https://example.org/support")]
    pub page: Option<WebUrl>,
}

/// Somebody whom people can ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SupportContact {
    /// What for: "m.role.admin" or "m.role.security".
    pub role: String,
    /// The user ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix_id: Option<String>,
    /// The e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_address: Option<String>,
}
