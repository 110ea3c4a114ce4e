use std::collections::HashMap;
use std::sync::Arc;

use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use parking_lot::Mutex;

use super::Key;

/// What a limiter is asked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Ask {
    pub(super) key: Key,
    /// Whether what is possible is spent; otherwise it is only looked at.
    pub(super) is_spent: bool,
}

/// The buckets of a limiter: for each key the time at which its bucket is full again, in nanoseconds of the limiter's clock.
///
/// There are never more than the capacity. When a part of it is full, the quarter of its keys that comes to rest soonest makes
/// room, if it is not at rest already: a stream of new addresses displaces itself, and no key that is being limited.
#[derive(Clone)]
pub(super) struct BoundedStore(Arc<Shards>);

struct Shards {
    shards: Box<[Mutex<HashMap<Key, u64>>]>,
    capacity_of_shard: usize,
    /// Odd and random: decides which shard a key is in.
    factor: u64,
}

impl BoundedStore {
    pub(super) fn new(shards: usize, capacity: usize) -> Self {
        let shards = shards.max(1);
        Self(Arc::new(Shards {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            capacity_of_shard: (capacity / shards).max(4),
            factor: rand::random::<u64>() | 1,
        }))
    }

    /// Brings the time at which a bucket is full forward.
    pub(super) fn give_back(&self, key: Key, spent: u64) {
        if let Some(shard) = self.0.of(key)
            && let Some(full_at) = shard.lock().get_mut(&key)
        {
            *full_at = full_at.saturating_sub(spent);
        }
    }
}

impl Shards {
    fn of(&self, key: Key) -> Option<&Mutex<HashMap<Key, u64>>> {
        let mixed = key.value.wrapping_mul(self.factor) >> 32;
        let count = u64::try_from(self.shards.len()).ok()?;
        self.shards.get(usize::try_from(mixed % count).ok()?)
    }
}

impl StateStore for BoundedStore {
    type Key = Ask;

    fn measure_and_replace<T, F, E>(&self, ask: &Ask, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Some(shard) = self.0.of(ask.key) else { return f(None).map(|(outcome, _)| outcome) };
        let mut shard = shard.lock();
        if let Some(full_at) = shard.get_mut(&ask.key) {
            let (outcome, replaced) = f(Some(Nanos::new(*full_at)))?;
            if ask.is_spent {
                *full_at = replaced.as_u64();
            }
            return Ok(outcome);
        }
        let (outcome, full_at) = f(None)?;
        if ask.is_spent {
            if shard.len() >= self.0.capacity_of_shard {
                make_room(&mut shard);
            }
            shard.insert(ask.key, full_at.as_u64());
        }
        Ok(outcome)
    }
}

/// Removes the quarter that is full soonest. Seldom, so that a key costs little on average.
fn make_room(shard: &mut HashMap<Key, u64>) {
    let mut times: Vec<u64> = shard.values().copied().collect();
    let quarter = times.len() / 4;
    if quarter < times.len() {
        let (_, last, _) = times.select_nth_unstable(quarter);
        let last = *last;
        shard.retain(|_, full_at| *full_at > last);
    }
}

impl ShrinkableKeyedStateStore<Ask> for BoundedStore {
    fn retain_recent(&self, drop_below: Nanos) {
        for shard in &self.0.shards {
            shard.lock().retain(|_, full_at| *full_at > drop_below.as_u64());
        }
    }

    fn shrink_to_fit(&self) {
        for shard in &self.0.shards {
            let mut shard = shard.lock();
            // What is needed again soon is kept.
            if shard.capacity() > 4 * shard.len() {
                let kept = 2 * shard.len();
                shard.shrink_to(kept);
            }
        }
    }

    fn len(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
