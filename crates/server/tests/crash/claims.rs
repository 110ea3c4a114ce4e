//! One-time keys are claimed while the server is killed: none is given out twice, and none is lost but to a claim that had no answer.

use std::collections::HashSet;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::seq::index::sample;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use testing::{Client, User};

const V3: &str = "/_matrix/client/v3";
const DEVICES: usize = 32;
const CLAIMANTS: usize = 16;
/// One-time keys that each device has at the beginning of a round.
const KEYS: u64 = 50;
/// Devices of which one request claims keys.
const CLAIMED_AT_ONCE: usize = 8;

/// A device of which keys are claimed.
struct Device {
    user: User,
    /// One-time keys that it has uploaded.
    uploaded: u64,
    /// One-time keys that somebody has got.
    given: HashSet<String>,
    /// Claims that had no answer.
    unanswered: u64,
    /// Whether somebody has got the fallback key in this round.
    has_fallen_back: bool,
}

/// The devices, and who claims their keys.
pub(crate) struct Claims {
    devices: Vec<Device>,
    claimant: User,
}

/// What a claimant got: the names of keys by device, and of which devices it claimed keys last, without an answer.
struct Got {
    keys: Vec<(usize, String)>,
    unanswered: Vec<usize>,
}

impl Claims {
    pub(crate) async fn new(client: &Client) -> Self {
        let names: Vec<String> = (0..DEVICES).map(|number| format!("device{number}")).collect();
        let users = join_all(names.iter().map(|name| User::register(client, name))).await;
        let device = |user| Device { user, uploaded: 0, given: HashSet::new(), unanswered: 0, has_fallen_back: false };
        let devices = users.into_iter().map(device).collect();
        Self { devices, claimant: User::register(client, "claimant").await }
    }

    /// How many one-time keys were given out.
    pub(crate) fn given(&self) -> usize {
        self.devices.iter().map(|device| device.given.len()).sum()
    }

    /// Has every device upload keys, so that it has as many as at the beginning, and another fallback key.
    pub(crate) async fn fill(&mut self, client: &Client, round: u64) {
        join_all(self.devices.iter_mut().map(|device| device.fill(client, round))).await;
    }

    /// Claims keys until the server is gone.
    pub(crate) async fn load(&mut self, client: &Client, seed: u64) {
        let claimants = (0..CLAIMANTS).map(|number| {
            let random = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
            self.claim_until_gone(client, random)
        });
        let got: Vec<Got> = join_all(claimants).await;
        for Got { keys, unanswered } in got {
            for (device, key) in keys {
                self.devices[device].got(key);
            }
            unanswered.into_iter().for_each(|device| self.devices[device].unanswered += 1);
        }
    }

    /// Counts what is left.
    pub(crate) async fn check_after_restart(&self, client: &Client) {
        join_all(self.devices.iter().map(|device| device.check(client))).await;
    }

    async fn claim_until_gone(&self, client: &Client, mut random: StdRng) -> Got {
        let mut keys = Vec::new();
        loop {
            let chosen = sample(&mut random, DEVICES, CLAIMED_AT_ONCE).into_vec();
            let wanted = chosen.iter().map(|device| {
                let user = &self.devices[*device].user;
                (user.id.clone(), json!({ &user.device_id: "signed_curve25519" }))
            });
            let wanted: serde_json::Map<String, Value> = wanted.collect();
            let body = json!({ "one_time_keys": wanted });
            let request = client.post(format!("{V3}/keys/claim")).token(&self.claimant.token).json(&body);
            // Not all at the same moment.
            if random.random_ratio(1, 8) {
                tokio::task::yield_now().await;
            }
            let Ok(answer) = request.send().await else { return Got { keys, unanswered: chosen } };
            let answer = answer.ok();
            for device in chosen {
                let user = &self.devices[device].user;
                let of_device = answer["one_time_keys"][&user.id][&user.device_id].as_object();
                let names: Vec<&String> = of_device.unwrap().keys().collect();
                assert_eq!(names.len(), 1, "{}", user.id);
                keys.push((device, names[0].clone()));
            }
        }
    }
}

impl Device {
    async fn counted(&self, client: &Client, keys: &Value) -> u64 {
        let answer = client.post(format!("{V3}/keys/upload")).token(&self.user.token).json(keys).await.ok();
        answer["one_time_key_counts"]["signed_curve25519"].as_u64().unwrap_or(0)
    }

    async fn fill(&mut self, client: &Client, round: u64) {
        let key = |name: String| (format!("signed_curve25519:{name}"), json!({ "key": name, "signatures": {} }));
        let missing = KEYS - self.counted(client, &json!({})).await;
        let numbers = self.uploaded..self.uploaded + missing;
        let one_time_keys: serde_json::Map<String, Value> = numbers.map(|number| key(format!("K{number}"))).collect();
        let fallback_keys = serde_json::Map::from_iter([key(format!("F{round}"))]);
        let body = json!({ "one_time_keys": one_time_keys, "fallback_keys": fallback_keys });
        assert_eq!(self.counted(client, &body).await, KEYS, "{}", self.user.id);
        self.uploaded += missing;
        self.has_fallen_back = false;
    }

    fn got(&mut self, key: String) {
        if key.starts_with("signed_curve25519:F") {
            self.has_fallen_back = true;
        } else {
            assert!(self.given.insert(key.clone()), "{key} of {} was given out twice", self.user.id);
        }
    }

    async fn check(&self, client: &Client) {
        let left = self.counted(client, &json!({})).await;
        let lost = self.uploaded - self.given.len() as u64 - left;
        assert!(
            lost <= self.unanswered,
            "{lost} keys of {} are lost, {} claims had no answer",
            self.user.id,
            self.unanswered
        );
        assert!(
            !self.has_fallen_back || left == 0,
            "{} had {left} keys left and gave out the fallback key",
            self.user.id
        );
    }
}
