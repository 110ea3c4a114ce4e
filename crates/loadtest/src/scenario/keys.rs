//! The keys of 1,000 users with 5 devices each: asked for, and one one-time key of 1,000 devices claimed.

use std::sync::Arc;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::accounts::PASSWORD;
use crate::context::Context;
use crate::matrix::User;
use crate::measurement::{Measurement, Tally};

const USERS: usize = 1_000;
const DEVICES: usize = 5;
/// Devices of which keys are claimed at once, and one-time keys that each of them has.
const CLAIMED: usize = 1_000;
const ONE_TIME_KEYS: usize = 20;

/// A device that is logged in.
#[derive(Deserialize)]
pub(super) struct Device {
    pub(super) user_id: String,
    device_id: String,
    access_token: String,
}

impl Device {
    /// Logs a user in at another device.
    pub(super) async fn log_in(context: &Context, user: &User, number: usize) -> anyhow::Result<Self> {
        let identifier = json!({"type": "m.id.user", "user": user.user_id});
        let device_id = format!("LOAD{number}");
        let body = json!({
            "type": "m.login.password", "identifier": identifier, "password": PASSWORD, "device_id": device_id,
        });
        context.server.post(None, "/_matrix/client/v3/login", &body).await.context("logging in")?.parse()
    }

    /// Uploads identity keys, which differ with `round`, and so many one-time keys.
    pub(super) async fn upload(&self, context: &Context, round: usize, one_time_keys: usize) -> anyhow::Result<()> {
        let Self { user_id, device_id, access_token } = self;
        let key = |name: &str| format!("{name}{round:0>36}");
        let keys: Map<String, Value> = (0..one_time_keys)
            .map(|number| (format!("signed_curve25519:K{number}"), json!({"key": key("o"), "signatures": {}})))
            .collect();
        let body = json!({
            "device_keys": {
                "user_id": user_id,
                "device_id": device_id,
                "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
                "keys": {
                    format!("ed25519:{device_id}"): key("e"), format!("curve25519:{device_id}"): key("c"),
                },
                "signatures": {},
            },
            "one_time_keys": keys,
        });
        let user = User { user_id: user_id.clone(), access_token: access_token.clone() };
        context.server.post(Some(&user), "/_matrix/client/v3/keys/upload", &body).await.context("uploading keys")?;
        Ok(())
    }
}

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let users = context.users(context.size.count(USERS)).await?;
    let stage = format!("preparing {DEVICES} devices of {} users", users.len());
    let devices = context.prepare(&stage, users.len() * DEVICES, async |number| {
        let user = users.get(number / DEVICES).context("there are as many users")?;
        let device = Device::log_in(context, user, number % DEVICES).await?;
        device.upload(context, 0, ONE_TIME_KEYS).await?;
        Ok(device)
    });
    let devices = devices.await?;
    let reader = context.new_user().await?;
    let queried = query(context, &reader, &users).await?;
    let claimed = devices.get(..context.size.count(CLAIMED).min(devices.len())).unwrap_or(&devices);
    Ok(vec![queried, claim(context, &reader, claimed).await?])
}

async fn query(context: &Context, reader: &Arc<User>, users: &[Arc<User>]) -> anyhow::Result<Measurement> {
    const PATH: &str = "/_matrix/client/v3/keys/query";
    let wanted: Map<String, Value> = users.iter().map(|user| (user.user_id.clone(), json!([]))).collect();
    let body = json!({"device_keys": wanted});
    let name = format!("keys/query of {} users with {DEVICES} devices", users.len());
    // The server is warm.
    context.server.post(Some(reader), PATH, &body).await.context("asking for keys")?;
    let readers = [reader.clone()];
    let measured =
        context.drive(&name, &readers, async |reader, _| context.server.post(Some(reader), PATH, &body).await);
    let (tally, spent) = measured.await?;
    Ok(Measurement::new(name, tally, spent))
}

/// Claims until each device has one key left.
async fn claim(context: &Context, claimant: &Arc<User>, devices: &[Device]) -> anyhow::Result<Measurement> {
    let mut wanted: Map<String, Value> = Map::new();
    for device in devices {
        let of_user = wanted.entry(device.user_id.clone()).or_insert_with(|| json!({}));
        if let Some(of_user) = of_user.as_object_mut() {
            of_user.insert(device.device_id.clone(), json!("signed_curve25519"));
        }
    }
    let body = json!({"one_time_keys": wanted});
    let name = format!("keys/claim of {} devices", devices.len());
    let window = context.open_window(&name).await?;
    let mut tally = Tally::default();
    for _ in 1..ONE_TIME_KEYS {
        tally.record(&context.server.post(Some(claimant), "/_matrix/client/v3/keys/claim", &body).await);
        context.progress.tick();
    }
    let spent = context.close_window(window).await?;
    Ok(Measurement::new(name, tally, spent))
}
