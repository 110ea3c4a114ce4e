use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::Period;

/// Presence: users see who is online among the members of their rooms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Presence {
    /// Whether anybody is told.
    pub enabled: bool,
    /// A user who is online and has done nothing for this long is shown as idle.
    pub idle_after: Period,
    /// A user without a client that has synced for this long is shown as offline.
    pub offline_after: Period,
}

impl Default for Presence {
    fn default() -> Self {
        Self { enabled: true, idle_after: Period::from_secs(300), offline_after: Period::from_secs(30) }
    }
}
