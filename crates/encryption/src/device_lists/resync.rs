//! Asking for the keys of users of another server again.

use std::sync::Arc;
use std::time::Duration;

use federation::{Client, Outgoing, RequestError};
use homeserver_core::UserSn;
use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ruma::{OwnedServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use storage::{Database, Interned, StorageError, ToldDeviceList};
use tasks::queue::{Handle, Job, JobError, Retry, Run};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::keys::KeptKeys;

/// Users that are looked up at once.
const AT_ONCE: i64 = 100;
/// Servers that are asked at the same time. One that does not answer takes so many of the workers, and no more.
const SERVERS_AT_ONCE: usize = 2;
/// How long a server waits for the others before it makes place for other jobs.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// How long one run may take, and how many users it may fail to be told of.
const RUN_LIMIT: Duration = Duration::from_mins(1);
const MAX_FAILURES: usize = 5;
/// How long a server may take for the keys of one user, and how long these may be.
const TIMEOUT: Duration = Duration::from_secs(20);
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Asks a server for the keys of those of its users of whose changes one is missing.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct ResyncDeviceLists {
    /// The server.
    pub server: OwnedServerName,
}

impl Job for ResyncDeviceLists {
    const NAME: &str = "resync_device_lists";
    const IS_INTERRUPTIBLE: bool = true;
    /// After that, clients that ask have the server asked, and the next change that it tells begins this again.
    const RETRY: Retry = Retry {
        attempts: 500,
        max_age: Duration::from_secs(7 * 24 * 3600),
        first_pause: Duration::from_secs(2),
        longest_pause: Duration::from_secs(3600),
    };

    fn key(&self) -> Option<String> {
        Some(self.server.to_string())
    }
}

/// Keeps the keys of users of other servers up to date.
pub struct DeviceListResync {
    database: Database,
    interned: Arc<Interned>,
    client: Arc<Client>,
    servers: Semaphore,
}

/// What a server answers to `/user/devices/{userId}`.
#[derive(Deserialize)]
struct UserDevices {
    stream_id: i64,
    #[serde(default)]
    devices: Vec<Box<RawValue>>,
    #[serde(default)]
    master_key: Option<Box<RawValue>>,
    #[serde(default)]
    self_signing_key: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct UserDevice {
    device_id: Box<str>,
    keys: Box<RawValue>,
    #[serde(default)]
    device_display_name: Option<String>,
}

impl UserDevices {
    /// The keys as they are kept. What is not sound is left out.
    fn kept(&self, user_id: &UserId) -> KeptKeys {
        let devices = self.devices.iter().filter_map(|device| {
            let UserDevice { device_id, keys, device_display_name } = serde_json::from_str(device.get()).ok()?;
            let keys = KeptKeys::device(&keys, user_id, &device_id, device_display_name.as_deref())?;
            Some((device_id, keys))
        });
        let cross_signing = |key: &Option<Box<RawValue>>| KeptKeys::cross_signing(key.as_ref()?, user_id);
        KeptKeys {
            devices: devices.collect(),
            master_key: cross_signing(&self.master_key),
            self_signing_key: cross_signing(&self.self_signing_key),
        }
    }
}

impl DeviceListResync {
    /// Asks by `client`, and keeps in `database` what is told.
    #[must_use]
    pub fn new(database: Database, interned: Arc<Interned>, client: Arc<Client>) -> Self {
        Self { database, interned, client, servers: Semaphore::new(SERVERS_AT_ONCE) }
    }

    async fn resync(&self, server: &OwnedServerName, user_sn: UserSn, version: i64) -> Result<(), JobError> {
        // Before it is asked: a change that the answer does not have is told afterwards.
        let asked_at = self.database.position().await?;
        if self.database.users_sharing_rooms(&[user_sn.0]).await?.is_empty() {
            return Ok(self.database.forget_remote_device_list(user_sn, version).await?);
        }
        let user_id = self.interned.user_id(user_sn).await?;
        let user_id = <&UserId>::try_from(&*user_id).map_err(|error| StorageError::Corrupt(error.to_string()))?;
        let Some(told) = self.ask(server, user_id).await? else {
            return Ok(self.database.forget_remote_device_list(user_sn, version).await?);
        };
        let kept = told.kept(user_id);
        let Some(keys) = kept.stored() else {
            tracing::debug!(%user_id, "a user of another server has too many keys to keep them");
            return Ok(self.database.forget_remote_device_list(user_sn, version).await?);
        };
        let server_sn = self.interned.server(server.as_str()).await?;
        let (known_version, stream_id, is_empty) = (Some(version), Some(told.stream_id), kept.is_empty());
        let told = ToldDeviceList { user_sn, server_sn, known_version, stream_id, asked_at, keys, is_empty };
        Ok(self.database.store_remote_device_lists(vec![told]).await?)
    }

    /// The devices of a user; `None` if the server does not tell them, and will not if it is asked again.
    async fn ask(&self, server: &OwnedServerName, user_id: &UserId) -> Result<Option<UserDevices>, JobError> {
        let uri = utf8_percent_encode(user_id.as_str(), NON_ALPHANUMERIC);
        let outgoing = Outgoing {
            method: Method::GET,
            server,
            uri: &format!("/_matrix/federation/v1/user/devices/{uri}"),
            body: None,
            limit_bytes: MAX_ANSWER_BYTES,
            timeout: TIMEOUT,
        };
        match self.client.ask(&outgoing).await {
            Ok(answer) => Ok(serde_json::from_slice(&answer).ok()),
            Err(RequestError::BadAnswer { .. }) => Ok(None),
            Err(RequestError::Refused { status: StatusCode::FORBIDDEN | StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(JobError::Retry(error.to_string())),
        }
    }
}

impl Handle<ResyncDeviceLists> for DeviceListResync {
    async fn run(&self, job: ResyncDeviceLists, run: &Run) -> Result<(), JobError> {
        let busy = || JobError::Retry("other servers are being asked".to_owned());
        let _place = timeout(MAX_WAIT, self.servers.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())?;
        let server_sn = self.interned.server(job.server.as_str()).await?;
        let until = Instant::now() + RUN_LIMIT;
        let (mut failed, mut failures) = (None, 0);
        let (mut after, mut asked) = (UserSn(0), 0);
        loop {
            let outdated = self.database.outdated_device_lists(server_sn, after, AT_ONCE).await?;
            let Some((last, _)) = outdated.last().copied() else { return failed.map_or(Ok(()), Err) };
            for (user_sn, version) in outdated {
                if Instant::now() >= until {
                    return Err(JobError::Retry("more users are to be asked for".to_owned()));
                }
                // One that fails does not keep the others from being asked for, unless the server is not there.
                if let Err(error) = self.resync(&job.server, user_sn, version).await {
                    failures += 1;
                    if failures >= MAX_FAILURES {
                        return Err(error);
                    }
                    failed = Some(error);
                }
                asked += 1;
                run.progress(asked, 0, "Asking for the keys of users").await;
            }
            after = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_server_tells_of_a_user_is_kept_as_far_as_it_is_sound() {
        let user_id = user_id!("@b:b.example");
        let keys = |device_id: &str| json!({ "user_id": user_id, "device_id": device_id, "unsigned": { "age": 1 } });
        let told = json!({
            "user_id": user_id, "stream_id": 7, "self_signing_key": { "user_id": "@eve:b.example" },
            "master_key": { "user_id": user_id, "usage": ["master"] },
            "devices": [
                { "device_id": "A", "keys": keys("A"), "device_display_name": "phone" },
                { "device_id": "B", "keys": keys("A") }, { "device_id": "C" }, 5,
            ],
        });
        let kept = serde_json::from_value::<UserDevices>(told).unwrap().kept(user_id);
        assert_eq!(kept.devices.keys().map(|id| &**id).collect::<Vec<_>>(), ["A"]);
        assert!(
            kept.devices["A"]
                .get()
                .ends_with(r#""unsigned":{"device_display_name":"phone"},"user_id":"@b:b.example"}"#)
        );
        assert_eq!(kept.master_key.unwrap().get(), r#"{"usage":["master"],"user_id":"@b:b.example"}"#);
        assert!(kept.self_signing_key.is_none());
    }
}
