//! Gaps that nobody could fill a short while ago.

use std::collections::HashMap;
use std::time::Duration;

use homeserver_core::{RoomSn, TimelineOrder};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::GapKey;

/// How long nobody is asked again.
const PAUSE: Duration = Duration::from_secs(30);
/// So many gaps are remembered.
const REMEMBERED: usize = 10_000;

/// Gaps that nobody could fill a short while ago.
#[derive(Default)]
pub(super) struct Futile(Mutex<HashMap<GapKey, Instant>>);

impl Futile {
    pub(super) fn contains(&self, room_sn: RoomSn, order: TimelineOrder) -> bool {
        self.0.lock().get(&(room_sn, order)).is_some_and(|until| *until > Instant::now())
    }

    pub(super) fn insert(&self, room_sn: RoomSn, order: TimelineOrder) {
        let now = Instant::now();
        let mut gaps = self.0.lock();
        if gaps.len() >= REMEMBERED {
            gaps.retain(|_, until| *until > now);
        }
        if gaps.len() < REMEMBERED {
            gaps.insert((room_sn, order), now + PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_gap_is_tried_again_after_the_pause() {
        let (futile, gap) = (Futile::default(), TimelineOrder(7));
        assert!(!futile.contains(RoomSn(1), gap));
        futile.insert(RoomSn(1), gap);
        assert!(futile.contains(RoomSn(1), gap));
        assert!(!futile.contains(RoomSn(2), gap));
        tokio::time::advance(PAUSE).await;
        assert!(!futile.contains(RoomSn(1), gap));
    }
}
