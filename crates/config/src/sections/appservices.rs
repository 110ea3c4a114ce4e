use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Application services: bridges and bots that act for many users.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Appservices {
    /// Their [registration files](https://spec.matrix.org/v1.19/application-service-api/#registration).
    pub registration_files: Vec<PathBuf>,
}
