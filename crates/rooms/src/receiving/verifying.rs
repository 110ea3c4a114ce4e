//! Reading events of other servers and checking their signatures.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use room_engine::RoomVersion;
use room_engine::receipt::{Dropped, KeyLookup, KeyRing, ReceivedPdu, VerifiedPdu};
use ruma::{OwnedServerName, RoomId};
use storage::StorageError;

use crate::resolving::RoomIdentity;
use crate::{RoomError, Timeline};

/// So many events are checked in one go, away from the threads that serve requests.
const EVENTS_AT_ONCE: usize = 100;

/// The keys that the signatures of events are checked with: key IDs by server.
type NeededKeys = BTreeMap<OwnedServerName, BTreeSet<String>>;

impl Timeline {
    /// The keys that are needed to check the signatures of events of a room version. Events that are malformed need none.
    ///
    /// # Errors
    /// [`RoomError::Busy`] if too many signatures are being checked.
    pub async fn needed_keys(&self, version: RoomVersion, events: &[Bytes]) -> Result<NeededKeys, RoomError> {
        let mut needed = NeededKeys::new();
        for piece in events.chunks(EVENTS_AT_ONCE) {
            let piece = piece.to_vec();
            let of_piece = move || {
                let parsed = piece.iter().filter_map(|json| ReceivedPdu::parse(version, None, json).ok());
                parsed.flat_map(|event| event.needed_signatures()).collect::<Vec<_>>()
            };
            for signature in self.check(of_piece).await? {
                let keys = needed.entry(signature.server).or_default();
                keys.extend(signature.key_ids.into_iter().map(String::from));
            }
        }
        Ok(needed)
    }

    /// Reads one event and checks its signatures.
    pub(super) async fn verify<K: KeyLookup + Sync + ?Sized>(
        &self,
        room: &RoomIdentity,
        json: &[u8],
        keys: &K,
    ) -> Result<Result<VerifiedPdu, Dropped>, RoomError> {
        let _permit = self.signature_checks().enter().await?;
        let received = ReceivedPdu::parse(room.version, Some(&room.room_id), json);
        Ok(received.and_then(|received| received.verify(keys)))
    }

    /// Checks the signatures of a few events that were read. The answer is in the order of `events`.
    pub(super) async fn verify_read<K: KeyLookup + Sync + ?Sized>(
        &self,
        events: Vec<ReceivedPdu>,
        keys: &K,
    ) -> Result<Vec<Result<VerifiedPdu, Dropped>>, RoomError> {
        let keys = keys_of(events.iter(), keys);
        self.check(move || events.into_iter().map(|event| event.verify(&keys)).collect::<Vec<_>>()).await
    }

    /// Reads events and checks their signatures. The answer is in the order of `events`.
    pub(super) async fn verify_all<K: KeyLookup + Sync + ?Sized>(
        &self,
        version: RoomVersion,
        room_id: &RoomId,
        events: &[Bytes],
        keys: &K,
    ) -> Result<Vec<Result<VerifiedPdu, Dropped>>, RoomError> {
        let mut verified = Vec::with_capacity(events.len());
        for piece in events.chunks(EVENTS_AT_ONCE) {
            let (piece, room_id) = (piece.to_vec(), room_id.to_owned());
            let parse = move || {
                let parsed = piece.iter().map(|json| ReceivedPdu::parse(version, Some(&room_id), json));
                parsed.collect::<Vec<_>>()
            };
            let parsed = self.check(parse).await?;
            let keys = keys_of(parsed.iter().filter_map(|event| event.as_ref().ok()), keys);
            let verify = move || {
                let verified = parsed.into_iter().map(|event| event.and_then(|event| event.verify(&keys)));
                verified.collect::<Vec<_>>()
            };
            verified.extend(self.check(verify).await?);
        }
        Ok(verified)
    }

    /// Runs work that takes the processor for long on a thread for that, within the limit on such work.
    async fn check<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, RoomError> {
        let permit = self.signature_checks().enter().await?;
        let done = tokio::task::spawn_blocking(move || {
            let answer = work();
            drop(permit);
            answer
        });
        let failed = |error| StorageError::Unavailable(format!("events could not be checked: {error}"));
        Ok(done.await.map_err(failed)?)
    }
}

/// The keys that events need, as far as they are known.
fn keys_of<'a, K: KeyLookup + ?Sized>(events: impl Iterator<Item = &'a ReceivedPdu>, known: &K) -> KeyRing {
    let mut keys = KeyRing::new();
    for signature in events.flat_map(ReceivedPdu::needed_signatures) {
        for key_id in &signature.key_ids {
            if let Some(key) = known.verify_key(&signature.server, key_id) {
                keys.insert(&signature.server, key_id, *key);
            }
        }
    }
    keys
}
