//! Finding auth chains.

use homeserver_core::EventSn;
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

use super::{Chain, ChainCover, ChainNeed, ChainPosition, ChainRange};

/// The auth chains of several sets of events, found together. The events themselves count as part of them.
///
/// It visits chains, not events. When something must be loaded, it keeps its progress.
#[derive(Debug, Clone)]
pub struct AuthChainWalk {
    sets: usize,
    waiting: Vec<(EventSn, usize)>,
    indices: FxHashMap<Chain, usize>,
    visits: Vec<Visit>,
    queue: Vec<usize>,
}

/// A visited chain, with two numbers for each set.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) chain: Chain,
    /// The last event of the chain that belongs to the auth chain; 0 for none.
    reach: SmallVec<[u32; 4]>,
    /// The last event whose links have been followed.
    followed: SmallVec<[u32; 4]>,
    queued: bool,
}

impl Visit {
    /// The furthest number that any set reaches.
    pub(super) fn furthest(&self) -> u32 {
        self.reach.iter().copied().max().unwrap_or(0)
    }
}

impl AuthChainWalk {
    /// Begins a walk from sets of events.
    pub fn new<S>(sets: impl IntoIterator<Item = S>) -> Self
    where
        S: IntoIterator<Item = EventSn>,
    {
        let mut waiting = Vec::new();
        let mut count = 0;
        for (index, set) in sets.into_iter().enumerate() {
            waiting.extend(set.into_iter().map(|sn| (sn, index)));
            count = index + 1;
        }
        Self { sets: count, waiting, indices: FxHashMap::default(), visits: Vec::new(), queue: Vec::new() }
    }

    /// Walks to the end.
    ///
    /// # Errors
    /// The part of the index that must be loaded first. The next run continues from there.
    pub fn run(&mut self, cover: &ChainCover) -> Result<(), ChainNeed> {
        self.run_until(cover, |_| false)
    }

    pub(super) fn run_until(&mut self, cover: &ChainCover, is_enough: impl Fn(&Self) -> bool) -> Result<(), ChainNeed> {
        let mut need = ChainNeed::default();
        for (event_sn, set) in std::mem::take(&mut self.waiting) {
            match cover.position(event_sn) {
                Some(position) => self.raise(position, set),
                None => {
                    need.positions.push(event_sn);
                    self.waiting.push((event_sn, set));
                }
            }
        }
        let mut blocked = Vec::new();
        while let Some(index) = self.queue.pop() {
            if is_enough(self) {
                return Ok(());
            }
            if !self.follow(cover, index) {
                blocked.push(index);
            }
        }
        need.chains.extend(blocked.iter().filter_map(|index| self.visits.get(*index)).map(|visit| visit.chain));
        self.queue = blocked;
        need.positions.sort_unstable();
        need.positions.dedup();
        if need.is_empty() { Ok(()) } else { Err(need) }
    }

    /// The number of visited chains.
    pub fn chains(&self) -> usize {
        self.visits.len()
    }

    /// The number of the last event of `chain` that is in the auth chain of a set; 0 for none.
    pub fn reach(&self, chain: Chain, set: usize) -> u32 {
        let visit = self.indices.get(&chain).and_then(|index| self.visits.get(*index));
        visit.and_then(|visit| visit.reach.get(set)).copied().unwrap_or(0)
    }

    /// The [auth difference](https://spec.matrix.org/v1.19/rooms/v12/#definitions): the events in the auth chain of
    /// some sets and not of all.
    pub fn difference(&self) -> Vec<ChainRange> {
        let range = |visit: &Visit| {
            let of_all = visit.reach.iter().copied().min()?;
            let of_any = visit.furthest();
            (of_all < of_any).then_some(ChainRange { chain: visit.chain, first: of_all + 1, last: of_any })
        };
        self.visits.iter().filter_map(range).collect()
    }

    pub(super) fn visits(&self) -> &[Visit] {
        &self.visits
    }

    pub(super) fn index(&self, chain: Chain) -> Option<usize> {
        self.indices.get(&chain).copied()
    }

    /// Follows the links of a chain as far as the sets reach; `false` if the chain must be loaded.
    fn follow(&mut self, cover: &ChainCover, index: usize) -> bool {
        let Some(visit) = self.visits.get_mut(index) else { return true };
        let Some(record) = cover.chains.get(&visit.chain) else { return false };
        visit.queued = false;
        let reach = visit.reach.clone();
        let followed = std::mem::replace(&mut visit.followed, reach.clone());
        for (set, (last, followed)) in reach.into_iter().zip(followed).enumerate() {
            let links = record.links_up_to(last);
            let begin = record.links_up_to(followed).len();
            for (_, to) in links.iter().skip(begin) {
                self.raise(*to, set);
            }
        }
        true
    }

    fn raise(&mut self, position: ChainPosition, set: usize) {
        let index = *self.indices.entry(position.chain).or_insert_with(|| {
            let none: SmallVec<[u32; 4]> = smallvec![0; self.sets];
            self.visits.push(Visit { chain: position.chain, reach: none.clone(), followed: none, queued: false });
            self.visits.len() - 1
        });
        let Some(visit) = self.visits.get_mut(index) else { return };
        let Some(reach) = visit.reach.get_mut(set) else { return };
        if *reach < position.seq {
            *reach = position.seq;
            if !visit.queued {
                visit.queued = true;
                self.queue.push(index);
            }
        }
    }
}
