use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Period, Secret};

/// TURN servers, through which voice and video calls go where clients cannot reach each other. Without `uris` clients are told of none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Turn {
    /// The URIs of the servers, such as "turn:turn.example.org?transport=udp".
    pub uris: Vec<String>,
    /// The secret that the servers share with this one (`static-auth-secret` of coturn): each client gets a password for some time.
    #[schemars(example = "a long random text")]
    pub shared_secret: Option<Secret>,
    /// A file that holds the secret, instead of `shared_secret`.
    #[schemars(example = "/run/secrets/turn_shared_secret")]
    pub shared_secret_file: Option<PathBuf>,
    /// The name with which all clients log in, instead of a shared secret.
    #[schemars(example = &"matrix")]
    pub username: Option<String>,
    /// The password of that name.
    #[schemars(example = "the password")]
    pub password: Option<Secret>,
    /// A file that holds the password, instead of `password`.
    #[schemars(example = "/run/secrets/turn_password")]
    pub password_file: Option<PathBuf>,
    /// How long a client can use what it was told.
    pub user_lifetime: Period,
    /// Whether guests may call through the servers.
    pub allow_guests: bool,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            uris: Vec::new(),
            shared_secret: None,
            shared_secret_file: None,
            username: None,
            password: None,
            password_file: None,
            user_lifetime: Period::from_secs(3600),
            allow_guests: true,
        }
    }
}
