use std::{num::NonZero, path::PathBuf, thread};

use ruma::OwnedServerName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Period, WebUrl, server_name, some_whole_number, whole_number};

/// The homeserver itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The part after the colon in user IDs. It cannot be changed once users and rooms exist.
    #[serde(deserialize_with = "server_name")]
    #[schemars(with = "String")]
    pub name: OwnedServerName,
    /// The URL at which clients reach this server, named in `.well-known/matrix/client`.
    #[schemars(example = "https://matrix.example.org")]
    pub public_base_url: Option<WebUrl>,
    /// The directory of everything that the server owns: the SQLite file, the signing key, media.
    pub data_dir: PathBuf,
    /// Threads that serve requests; by default the number of cores.
    #[serde(deserialize_with = "some_whole_number::<_, 1, 1024>")]
    #[schemars(range(min = 1, max = 1024), example = 4)]
    pub worker_threads: Option<u32>,
    /// The key that signs events, made at the first start; by default `signing.key` in `data_dir`.
    #[schemars(example = "data/signing.key")]
    pub signing_key_path: Option<PathBuf>,
    /// Connections of clients and servers held at once; more wait in the operating system's queue.
    #[serde(deserialize_with = "whole_number::<_, 1, 1_000_000>")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,
    /// How long requests in flight may take to finish when the server stops.
    pub shutdown_timeout: Period,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            name: ruma::owned_server_name!("localhost"),
            public_base_url: None,
            data_dir: "data".into(),
            worker_threads: None,
            signing_key_path: None,
            max_connections: 20_000,
            shutdown_timeout: Period::from_secs(20),
        }
    }
}

impl Server {
    /// `worker_threads`, by default the number of cores.
    pub fn worker_thread_count(&self) -> usize {
        self.worker_threads.map_or_else(cores, |threads| threads as usize)
    }
}

/// The cores that this process may use.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}
