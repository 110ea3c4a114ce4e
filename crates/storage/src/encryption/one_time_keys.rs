//! Keys that devices upload for others to begin a session with: one-time keys, and fallback keys for when there are none left.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use homeserver_core::{DeviceSn, HeapSize, UserSn};

use super::device_keys::{KeysUpload, UploadConflict};
use crate::log::{DeviceChange, LogEntry};
use crate::{Database, Row, StorageError, Tx, Value, params};

/// A key that is uploaded.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its algorithm.
    pub algorithm: Box<str>,
    /// Its ID, unique for the device and the algorithm.
    pub key_id: Box<str>,
    /// Canonical JSON.
    pub key: Bytes,
}

/// Which keys of a device are left.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct KeyCounts {
    /// How many one-time keys there are of each algorithm.
    pub one_time_keys: BTreeMap<String, i64>,
    /// The algorithms whose fallback key was not given out yet.
    pub unused_fallback_keys: BTreeSet<String>,
}

impl HeapSize for KeyCounts {
    fn heap_bytes(&self) -> usize {
        // What a node of such a map takes beside its texts, about.
        const NODE_BYTES: usize = 64;
        let algorithms = self.one_time_keys.keys().chain(&self.unused_fallback_keys);
        algorithms.map(|algorithm| algorithm.heap_bytes() + NODE_BYTES).sum()
    }
}

/// A key that somebody wants of a device.
#[derive(Clone, Debug)]
pub struct WantedKey {
    /// Whose device it is.
    pub user_sn: UserSn,
    /// The device's ID.
    pub device_id: Box<str>,
    /// The algorithm.
    pub algorithm: Box<str>,
}

/// A key that was given out.
#[derive(Clone, Debug)]
pub struct ClaimedKey {
    /// Whose device it is.
    pub user_sn: UserSn,
    /// The device's ID.
    pub device_id: Box<str>,
    /// The algorithm.
    pub algorithm: Box<str>,
    /// The key's ID.
    pub key_id: Box<str>,
    /// The key's JSON.
    pub key: Bytes,
}

const COUNTS: &str = "SELECT algorithm, COUNT(*), FALSE FROM one_time_keys WHERE device_sn = $1 GROUP BY algorithm \
                      UNION ALL SELECT algorithm, 1, TRUE FROM fallback_keys WHERE device_sn = $1 AND NOT is_used";

fn read_count(row: &Row<'_>) -> Result<(String, i64, bool), StorageError> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn counts(rows: Vec<(String, i64, bool)>) -> KeyCounts {
    let mut counts = KeyCounts::default();
    for (algorithm, count, is_fallback) in rows {
        if is_fallback {
            counts.unused_fallback_keys.insert(algorithm);
        } else {
            counts.one_time_keys.insert(algorithm, count);
        }
    }
    counts
}

/// The device and the algorithm of a key.
type KeyPlace = (DeviceSn, Box<str>);

fn read_claimed(row: &Row<'_>) -> Result<(KeyPlace, Box<str>, Bytes), StorageError> {
    Ok(((row.get(0)?, row.get(1)?), row.get(2)?, row.get(3)?))
}

impl Database {
    /// Which keys of a device are left.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn key_counts(&self, device_sn: DeviceSn) -> Result<KeyCounts, StorageError> {
        Ok(counts(self.query(COUNTS, params![device_sn], read_count).await?))
    }

    /// Takes one key of each kind that is wanted: the oldest one-time key, which nobody gets again, or else the fallback key.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn claim_keys(&self, wanted: Vec<WantedKey>) -> Result<Vec<ClaimedKey>, StorageError> {
        self.write(async move |tx| tx.claim_keys(&wanted).await).await
    }
}

impl Tx {
    pub(super) async fn key_counts(&mut self, device_sn: DeviceSn) -> Result<KeyCounts, StorageError> {
        Ok(counts(self.query(COUNTS, params![device_sn], read_count).await?))
    }

    /// The one-time keys that are not stored yet, or why the upload is refused.
    pub(super) async fn new_one_time_keys<'a>(
        &mut self,
        upload: &'a KeysUpload,
    ) -> Result<Result<Vec<&'a NewKey>, UploadConflict>, StorageError> {
        if upload.one_time_keys.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let key_ids: Vec<String> = upload.one_time_keys.iter().map(|key| key.key_id.to_string()).collect();
        let algorithms: BTreeSet<&str> = upload.one_time_keys.iter().map(|key| &*key.algorithm).collect();
        let algorithms: Vec<String> = algorithms.into_iter().map(str::to_owned).collect();
        let sql = "SELECT algorithm, key_id, key FROM one_time_keys \
                   WHERE device_sn = $1 AND algorithm IN LIST($2) AND key_id IN LIST($3)";
        let read = |row: &Row<'_>| Ok(((row.get::<Box<str>>(0)?, row.get::<Box<str>>(1)?), row.get::<Bytes>(2)?));
        let stored = self.query(sql, params![upload.device_sn, &algorithms, &key_ids], read).await?;
        let stored: HashMap<(Box<str>, Box<str>), Bytes> = stored.into_iter().collect();
        let mut new = Vec::new();
        for key in &upload.one_time_keys {
            match stored.get(&(key.algorithm.clone(), key.key_id.clone())) {
                None => new.push(key),
                Some(stored) if *stored == key.key => {}
                Some(_) => {
                    let (algorithm, key_id) = (key.algorithm.clone(), key.key_id.clone());
                    return Ok(Err(UploadConflict::OtherKey { algorithm, key_id }));
                }
            }
        }
        let sql = "SELECT COUNT(*) FROM one_time_keys WHERE device_sn = $1";
        let count = self.query_optional(sql, params![upload.device_sn], |row| row.get::<i64>(0)).await?;
        let would_have = count.unwrap_or(0).saturating_add(i64::try_from(new.len()).unwrap_or(i64::MAX));
        let is_too_many = !new.is_empty() && would_have > upload.max_one_time_keys;
        Ok(if is_too_many { Err(UploadConflict::TooMany) } else { Ok(new) })
    }

    /// Stores new one-time keys, and the fallback keys of the upload.
    pub(super) async fn add_keys(&mut self, upload: &KeysUpload, new: &[&NewKey]) -> Result<(), StorageError> {
        let device_sn = upload.device_sn;
        let rows: Vec<Vec<Value<'_>>> = new.iter().map(|key| row_of(device_sn, key)).collect();
        self.insert_all("one_time_keys (device_sn, algorithm, key_id, key)", &rows).await?;
        let rows: Vec<Vec<Value<'_>>> = upload.fallback_keys.iter().map(|key| row_of(device_sn, key)).collect();
        // The same key again is as used as before.
        let sql = "INSERT INTO fallback_keys (device_sn, algorithm, key_id, key, is_used) \
                   SELECT r.device_sn, r.algorithm, r.key_id, r.key, FALSE FROM ROWS(device_sn, algorithm, key_id, key) r \
                   WHERE TRUE ON CONFLICT (device_sn, algorithm) DO UPDATE SET key_id = excluded.key_id, \
                   key = excluded.key, is_used = FALSE \
                   WHERE fallback_keys.key_id <> excluded.key_id OR fallback_keys.key <> excluded.key";
        self.execute_rows(sql, &rows).await?;
        if !new.is_empty() || !upload.fallback_keys.is_empty() {
            self.note_key_counts([(upload.user_sn, device_sn)].into_iter().collect()).await?;
        }
        Ok(())
    }

    async fn note_key_counts(&mut self, devices: BTreeSet<(UserSn, DeviceSn)>) -> Result<(), StorageError> {
        let position = self.next_position().await?;
        let devices = devices.into_iter().collect();
        self.publish(LogEntry::Devices { position, devices, change: DeviceChange::OneTimeKeys });
        Ok(())
    }

    async fn claim_keys(&mut self, wanted: &[WantedKey]) -> Result<Vec<ClaimedKey>, StorageError> {
        // Two who claim at once must not look at the same key.
        self.hold_log().await?;
        let places = self.key_places(wanted).await?;
        let rows: Vec<Vec<Value<'_>>> =
            places.keys().map(|(device, algorithm)| vec![(*device).into(), algorithm.into()]).collect();
        let claim = "DELETE FROM one_time_keys WHERE key_number IN (SELECT (SELECT MIN(k.key_number) FROM one_time_keys k \
                     WHERE k.device_sn = r.device_sn AND k.algorithm = r.algorithm) FROM ROWS(device_sn, algorithm) r) \
                     RETURNING device_sn, algorithm, key_id, key";
        let mut given = self.query_rows(claim, &rows, read_claimed).await?;
        let found: BTreeSet<KeyPlace> = given.iter().map(|(place, ..)| place.clone()).collect();
        let rows: Vec<Vec<Value<'_>>> = places
            .keys()
            .filter(|place| !found.contains(*place))
            .map(|(device, algorithm)| vec![(*device).into(), algorithm.into()])
            .collect();
        let fall_back = "UPDATE fallback_keys SET is_used = TRUE FROM ROWS(device_sn, algorithm) r \
                         WHERE fallback_keys.device_sn = r.device_sn AND fallback_keys.algorithm = r.algorithm \
                         RETURNING fallback_keys.device_sn, fallback_keys.algorithm, fallback_keys.key_id, fallback_keys.key";
        given.extend(self.query_rows(fall_back, &rows, read_claimed).await?);
        let mut devices = BTreeSet::new();
        let mut claimed = Vec::with_capacity(given.len());
        for ((device_sn, algorithm), key_id, key) in given {
            let place = (device_sn, algorithm);
            let Some(wanted) = places.get(&place) else { continue };
            devices.insert((wanted.user_sn, device_sn));
            let WantedKey { user_sn, device_id, algorithm } = (*wanted).clone();
            claimed.push(ClaimedKey { user_sn, device_id, algorithm, key_id, key });
        }
        if !devices.is_empty() {
            self.note_key_counts(devices).await?;
        }
        Ok(claimed)
    }

    /// The numbers of the devices of which keys are wanted, as far as there are such devices.
    async fn key_places<'a>(
        &mut self,
        wanted: &'a [WantedKey],
    ) -> Result<BTreeMap<KeyPlace, &'a WantedKey>, StorageError> {
        let rows: Vec<Vec<Value<'_>>> = (0_i64..)
            .zip(wanted)
            .map(|(number, wanted)| vec![number.into(), wanted.user_sn.into(), (&wanted.device_id).into()])
            .collect();
        let sql = "SELECT r.number, d.device_sn FROM ROWS(number, user_sn, device_id) r \
                   JOIN devices d ON d.user_sn = r.user_sn AND d.device_id = r.device_id";
        let found = self.query_rows(sql, &rows, |row| Ok((row.get::<i64>(0)?, row.get::<DeviceSn>(1)?))).await?;
        let place = |(number, device_sn): (i64, DeviceSn)| {
            let wanted = wanted.get(usize::try_from(number).ok()?)?;
            Some(((device_sn, wanted.algorithm.clone()), wanted))
        };
        Ok(found.into_iter().filter_map(place).collect())
    }
}

fn row_of(device_sn: DeviceSn, key: &NewKey) -> Vec<Value<'_>> {
    vec![device_sn.into(), (&key.algorithm).into(), (&key.key_id).into(), (&key.key).into()]
}
