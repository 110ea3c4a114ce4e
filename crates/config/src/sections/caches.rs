use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{ByteSize, size_between};

/// What is kept in memory to spare the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Caches {
    /// Memory for all caches together.
    #[serde(deserialize_with = "size_between::<_, 1_048_576, 1_099_511_627_776>")]
    pub memory_budget: ByteSize,
}

impl Default for Caches {
    fn default() -> Self {
        Self { memory_budget: ByteSize::from_mib(512) }
    }
}
