//! What login, registration and refresh have in common: the tokens that are given.

use accounts::sessions::IssuedTokens;
use serde::Serialize;

/// The keys of an answer that carry tokens.
#[derive(Serialize)]
pub(crate) struct TokenKeys {
    access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    device_id: String,
}

impl From<IssuedTokens> for TokenKeys {
    fn from(tokens: IssuedTokens) -> Self {
        Self {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            expires_in_ms: tokens.expires_in.map(|lifetime| u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX)),
            device_id: tokens.device_id,
        }
    }
}
