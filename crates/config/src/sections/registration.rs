use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::Secret;

/// Who may make an account. A first start without accounts prints a single-use token for the first administrator.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Registration {
    /// Open registration: anyone may make an account.
    pub enabled: bool,
    /// Registration needs a token that an administrator made.
    pub require_token: bool,
    /// Registration needs an e-mail address that was confirmed; needs the section `email`.
    pub require_email: bool,
    /// Guests may use the server without an account.
    pub allow_guests: bool,
    /// Enables `/_synapse/admin/v1/register` for callers that know this secret.
    #[schemars(example = "a long random text")]
    pub shared_secret: Option<Secret>,
    /// A file that holds the secret, instead of `shared_secret`.
    #[schemars(example = "/run/secrets/registration_shared_secret")]
    pub shared_secret_file: Option<PathBuf>,
}
