use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{ByteSize, Period, size_between};

/// Caches in memory, which spare the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Caches {
    /// Memory for all caches together, and for the newest part of the log. It is shared by use: what is read often gets
    /// more of it. The database's own caches, and what requests take while they run, come on top.
    #[serde(deserialize_with = "size_between::<_, 1_048_576, 1_099_511_627_776>")]
    pub memory_budget: ByteSize,
    /// How long an entry of a cache is used before it is read again; for ever if this is not set. Changes that servers make are
    /// seen without it: set it if something else changes the database.
    #[schemars(example = "1h")]
    pub time_to_live: Option<Period>,
}

impl Default for Caches {
    fn default() -> Self {
        Self { memory_budget: ByteSize::from_mib(512), time_to_live: None }
    }
}
