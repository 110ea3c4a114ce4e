//! One at a time for each room.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex as SyncMutex;
use ruma::{OwnedRoomId, RoomId};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// One lock for each room. Tasks get it in the order in which they asked.
#[derive(Default)]
pub(crate) struct RoomLocks(SyncMutex<HashMap<OwnedRoomId, Arc<Mutex<()>>>>);

impl RoomLocks {
    /// Waits until nobody else has the lock of a room.
    pub(crate) async fn lock(&self, room_id: &RoomId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock();
            // Locks that nobody holds or waits for go when the next one is taken.
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.entry(room_id.to_owned()).or_default().clone()
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use ruma::room_id;

    use super::*;

    #[tokio::test]
    async fn one_holds_the_lock_of_a_room_and_those_of_others_are_free() {
        let locks = RoomLocks::default();
        let (one, other) = (room_id!("!one:x.example"), room_id!("!other:x.example"));
        let held = locks.lock(one).await;
        assert!(locks.lock(one).now_or_never().is_none());
        assert!(locks.lock(other).now_or_never().is_some());
        drop(held);
        assert!(locks.lock(one).now_or_never().is_some());
        assert_eq!(locks.0.lock().len(), 1);
    }
}
