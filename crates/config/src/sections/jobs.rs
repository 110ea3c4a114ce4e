use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Period, Schedule, whole_number};

/// Work in the background.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Jobs {
    /// How many jobs that a client waits for run at the same time, on each node.
    #[serde(deserialize_with = "whole_number::<_, 1, 100>")]
    #[schemars(range(min = 1, max = 100))]
    pub urgent_workers: u32,
    /// How many jobs that should be done soon run at the same time.
    #[serde(deserialize_with = "whole_number::<_, 1, 100>")]
    #[schemars(range(min = 1, max = 100))]
    pub normal_workers: u32,
    /// How many jobs without a hurry, such as cleaning up, run at the same time; a node with 0 leaves them to other nodes.
    #[serde(deserialize_with = "whole_number::<_, 0, 100>")]
    #[schemars(range(min = 0, max = 100))]
    pub background_workers: u32,
    /// How often the server looks for jobs that commands beside it have scheduled. It begins its own at once.
    pub poll_interval: Period,
    /// Other nodes take over a node's jobs when it has not renewed them for this long; at least ten seconds.
    pub lease: Period,
    /// How long finished jobs are kept for administrators to see.
    pub keep_finished: Period,
    /// How long jobs are kept that were given up, and can be tried again by an administrator.
    pub keep_given_up: Period,
    /// When expired data is removed: `"daily at 03:00"` (UTC) or `"every 6h"`.
    pub clean_up: Schedule,
    /// When the parts of rooms' states that nothing refers to any more are removed.
    pub collect_state: Schedule,
    /// When rooms are removed that all users of this server have left and forgotten.
    pub purge_rooms: Schedule,
    /// When users, rooms and messages are counted.
    pub statistics: Schedule,
    /// Devices that were not used for this long are deleted, at least one day; never when absent.
    #[schemars(example = "1year")]
    pub remove_devices_unseen_for: Option<Period>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            urgent_workers: 4,
            normal_workers: 4,
            background_workers: 1,
            poll_interval: Period::from_secs(10),
            lease: Period::from_secs(60),
            keep_finished: Period::from_secs(24 * 3600),
            keep_given_up: Period::from_secs(30 * 24 * 3600),
            clean_up: Schedule::DailyAt { hour: 3, minute: 0 },
            collect_state: Schedule::DailyAt { hour: 3, minute: 30 },
            purge_rooms: Schedule::DailyAt { hour: 4, minute: 0 },
            statistics: Schedule::Every(Period::from_secs(3600)),
            remove_devices_unseen_for: None,
        }
    }
}
