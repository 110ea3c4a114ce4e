use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Period, whole_number};

/// How much one other server may ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FederationRate {
    /// The time in which requests are counted.
    pub window_size: Period,
    /// Requests in that time before further ones are delayed.
    #[serde(deserialize_with = "whole_number::<_, 1, 1_000_000>")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub sleep_limit: u32,
    /// By how long they are delayed.
    pub sleep_delay: Period,
    /// Requests that wait before further ones are refused.
    #[serde(deserialize_with = "whole_number::<_, 1, 1_000_000>")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub reject_limit: u32,
    /// Requests that run at once.
    #[serde(deserialize_with = "whole_number::<_, 1, 100_000>")]
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrent: u32,
}

impl Default for FederationRate {
    fn default() -> Self {
        Self {
            window_size: Period::from_secs(1),
            sleep_limit: 10,
            sleep_delay: Period::from_millis(500),
            reject_limit: 50,
            concurrent: 3,
        }
    }
}
