use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::Period;

/// Who is online, as users are told of those with whom they share a room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Presence {
    /// Whether anybody is told.
    pub enabled: bool,
    /// Whoever is online and has done nothing for so long is shown as idle.
    pub idle_after: Period,
    /// Whoever has no client that has asked for news for so long is shown as offline.
    pub offline_after: Period,
}

impl Default for Presence {
    fn default() -> Self {
        Self { enabled: true, idle_after: Period::from_secs(300), offline_after: Period::from_secs(30) }
    }
}
