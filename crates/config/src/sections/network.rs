use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every outbound request: federation, push, application services, previews, mail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// PEM files of further certificate authorities, for closed federations and tests.
    pub trusted_ca: Vec<PathBuf>,
    /// Whether certificates of other servers are checked.
    pub verify_tls: bool,
    /// Whether requests may go to loopback, link-local and private addresses.
    pub allow_private_addresses: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self { trusted_ca: Vec::new(), verify_tls: true, allow_private_addresses: false }
    }
}
