use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::server::cores;
use crate::values::{Period, some_whole_number};

/// Limits on how much heavy work runs at once, for all clients together. Of each kind so much runs, so many more requests may
/// wait for their turn, and each waits so long at most; beyond that the answer is 503 with a time to come back.
/// A figure that is left out has its default, which follows the number of cores.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Hashing passwords, at login and registration. By default one for each core, and 100 more may wait for each.
    #[schemars(example = example(2, 50, "10s"))]
    pub password_hashing: Option<Limit>,
    /// Checking the signatures of requests and events of other servers. By default one for each core, and 1,000 more may wait for each.
    #[schemars(example = example(2, 2000, "10s"))]
    pub signature_checks: Option<Limit>,
    /// Searching the user directory. By default one for each core, and 50 more may wait for each.
    #[schemars(example = example(2, 100, "10s"))]
    pub user_directory_search: Option<Limit>,
    /// Searching the directory of public rooms. By default one for each core, and 50 more may wait for each.
    #[schemars(example = example(2, 100, "10s"))]
    pub room_directory_search: Option<Limit>,
    /// Searching messages. By default one for each core, and 50 more may wait for each.
    #[schemars(example = example(2, 100, "10s"))]
    pub message_search: Option<Limit>,
    /// Reading all members or the whole state of a room with more than 1,000 members. By default two for each core, and 50 more may
    /// wait for each.
    #[schemars(example = example(4, 200, "10s"))]
    pub large_room_state: Option<Limit>,
    /// `/sync` without a token, which reads all rooms of a user. By default two for each core, and 100 more may wait for each.
    #[schemars(example = example(4, 400, "30s"))]
    pub initial_sync: Option<Limit>,
    /// Creating and upgrading rooms. By default four for each core, and 50 more may wait for each.
    #[schemars(example = example(8, 400, "10s"))]
    pub room_creation: Option<Limit>,
    /// Making thumbnails. By default one for each core, and 50 more may wait for each.
    #[schemars(example = example(2, 50, "10s"))]
    pub thumbnails: Option<Limit>,
    /// Asking other servers for their keys, which anybody can cause by pretending to be one. These are among the requests of
    /// `federation_out`. By default 20 for each core, and 200 more may wait for each.
    #[schemars(example = example(20, 400, "10s"))]
    pub server_keys: Option<Limit>,
    /// Fetching media of other servers, which takes as long as these want it to. These are among the requests of `federation_out`.
    /// By default 20 for each core, and 200 more may wait for each.
    #[schemars(example = example(20, 400, "30s"))]
    pub remote_media: Option<Limit>,
    /// Asking other servers about their users and aliases, which anybody can cause. These are among the requests of
    /// `federation_out`. By default 10 for each core, and 100 more may wait for each.
    #[schemars(example = example(10, 200, "10s"))]
    pub remote_queries: Option<Limit>,
    /// Getting into rooms of other servers and out of them, and fetching their past, for users. These are among the requests of
    /// `federation_out`. By default 20 for each core, and 200 more may wait for each.
    #[schemars(example = example(20, 400, "30s"))]
    pub remote_rooms: Option<Limit>,
    /// Requests to other servers. By default 80 for each core, and 800 more may wait for each: more than clients can cause
    /// together, so that the server's own requests always get a place.
    #[schemars(example = example(80, 1600, "30s"))]
    pub federation_out: Option<Limit>,
}

/// A limit on work of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limit {
    /// How many run at once.
    #[serde(deserialize_with = "some_whole_number::<_, 1, 100_000>")]
    #[schemars(range(min = 1, max = 100_000))]
    pub running: Option<u32>,
    /// How many more may wait.
    #[serde(deserialize_with = "some_whole_number::<_, 0, 1_000_000>")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub waiting: Option<u32>,
    /// How long each of these waits at most.
    pub longest_wait: Option<Period>,
}

/// A limit with every default filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSize {
    /// How many run at once.
    pub running: u32,
    /// How many more may wait.
    pub waiting: u32,
    /// How long each of these waits at most.
    pub longest_wait: Duration,
}

/// All limits, with every default filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSizes {
    /// Of `password_hashing`.
    pub password_hashing: LimitSize,
    /// Of `signature_checks`.
    pub signature_checks: LimitSize,
    /// Of `user_directory_search`.
    pub user_directory_search: LimitSize,
    /// Of `room_directory_search`.
    pub room_directory_search: LimitSize,
    /// Of `message_search`.
    pub message_search: LimitSize,
    /// Of `large_room_state`.
    pub large_room_state: LimitSize,
    /// Of `initial_sync`.
    pub initial_sync: LimitSize,
    /// Of `room_creation`.
    pub room_creation: LimitSize,
    /// Of `thumbnails`.
    pub thumbnails: LimitSize,
    /// Of `server_keys`.
    pub server_keys: LimitSize,
    /// Of `remote_media`.
    pub remote_media: LimitSize,
    /// Of `remote_queries`.
    pub remote_queries: LimitSize,
    /// Of `remote_rooms`.
    pub remote_rooms: LimitSize,
    /// Of `federation_out`.
    pub federation_out: LimitSize,
}

impl Limits {
    /// The figures of all limits.
    pub fn sizes(&self) -> LimitSizes {
        let cores = u32::try_from(cores()).unwrap_or(1);
        let size = |limit: &Option<Limit>, running_per_core: u32, waiting_per_core: u32, longest_wait| LimitSize {
            running: limit.as_ref().and_then(|limit| limit.running).unwrap_or(cores * running_per_core),
            waiting: limit.as_ref().and_then(|limit| limit.waiting).unwrap_or(cores * waiting_per_core),
            longest_wait: limit
                .as_ref()
                .and_then(|limit| limit.longest_wait)
                .map_or(Duration::from_secs(longest_wait), Period::duration),
        };
        LimitSizes {
            password_hashing: size(&self.password_hashing, 1, 100, 10),
            signature_checks: size(&self.signature_checks, 1, 1000, 10),
            user_directory_search: size(&self.user_directory_search, 1, 50, 10),
            room_directory_search: size(&self.room_directory_search, 1, 50, 10),
            message_search: size(&self.message_search, 1, 50, 10),
            large_room_state: size(&self.large_room_state, 2, 50, 10),
            initial_sync: size(&self.initial_sync, 2, 100, 30),
            room_creation: size(&self.room_creation, 4, 50, 10),
            thumbnails: size(&self.thumbnails, 1, 50, 10),
            server_keys: size(&self.server_keys, 20, 200, 10),
            remote_media: size(&self.remote_media, 20, 200, 30),
            remote_queries: size(&self.remote_queries, 10, 100, 10),
            remote_rooms: size(&self.remote_rooms, 20, 200, 30),
            federation_out: size(&self.federation_out, 80, 800, 30),
        }
    }

    /// The same with all defaults.
    pub(crate) fn filled_in(&self) -> Self {
        let sizes = self.sizes();
        Self {
            password_hashing: Some(sizes.password_hashing.into()),
            signature_checks: Some(sizes.signature_checks.into()),
            user_directory_search: Some(sizes.user_directory_search.into()),
            room_directory_search: Some(sizes.room_directory_search.into()),
            message_search: Some(sizes.message_search.into()),
            large_room_state: Some(sizes.large_room_state.into()),
            initial_sync: Some(sizes.initial_sync.into()),
            room_creation: Some(sizes.room_creation.into()),
            thumbnails: Some(sizes.thumbnails.into()),
            server_keys: Some(sizes.server_keys.into()),
            remote_media: Some(sizes.remote_media.into()),
            remote_queries: Some(sizes.remote_queries.into()),
            remote_rooms: Some(sizes.remote_rooms.into()),
            federation_out: Some(sizes.federation_out.into()),
        }
    }
}

impl From<LimitSize> for Limit {
    fn from(size: LimitSize) -> Self {
        let LimitSize { running, waiting, longest_wait } = size;
        Self { running: Some(running), waiting: Some(waiting), longest_wait: Some(Period::of(longest_wait)) }
    }
}

fn example(running: u32, waiting: u32, longest_wait: &str) -> serde_json::Value {
    serde_json::json!({ "running": running, "waiting": waiting, "longest_wait": longest_wait })
}
