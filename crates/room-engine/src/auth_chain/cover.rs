//! The part of the index that is in memory.

use std::collections::BTreeSet;

use homeserver_core::{EventSn, HeapSize, allocation_bytes, table_bytes};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::{AuthChainWalk, Chain, ChainPosition, NewRows, PositionedEvent};

/// A chain cover index, or as much of one as has been loaded.
#[derive(Debug, Clone, Default)]
pub struct ChainCover {
    pub(super) positions: FxHashMap<EventSn, ChainPosition>,
    pub(super) chains: FxHashMap<Chain, ChainRecord>,
    citations: FxHashMap<Chain, Citations>,
}

/// The rows of one chain, as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedChain {
    /// The chain.
    pub chain: Chain,
    /// The number of its last event.
    pub length: u32,
    /// Where it branches off, for a chain that has a [`ChainStart`](super::ChainStart).
    pub parent: Option<ChainPosition>,
    /// Its links: the number of the event in this chain, and what it reaches. In any order.
    pub links: Vec<(u32, ChainPosition)>,
}

/// What has to be loaded before a question can be answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChainNeed {
    /// Events whose positions are unknown; see [`ChainCover::add_position`].
    pub positions: Vec<EventSn>,
    /// Chains whose links are unknown; see [`ChainCover::add_chain`].
    pub chains: Vec<Chain>,
    /// The links that lead to one of these events or to a later one of its chain are unknown; see
    /// [`ChainCover::add_citations`].
    pub citations: Vec<ChainPosition>,
}

impl ChainNeed {
    /// Whether there is nothing to load.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty() && self.chains.is_empty() && self.citations.is_empty()
    }
}

#[derive(Debug, Clone)]
pub(super) struct ChainRecord {
    pub(super) length: u32,
    pub(super) parent: Option<ChainPosition>,
    /// In the order of the numbers.
    pub(super) links: SmallVec<[(u32, ChainPosition); 2]>,
}

/// The links to a chain: all links with a `to.seq` of at least `known_from`.
#[derive(Debug, Clone)]
struct Citations {
    known_from: u32,
    links: BTreeSet<(u32, ChainPosition)>,
}

impl HeapSize for ChainCover {
    fn heap_bytes(&self) -> usize {
        /// What an entry of a B-tree takes, whose nodes are about three quarters full.
        const LINK_BYTES: usize = size_of::<(u32, ChainPosition)>() * 3 / 2;
        let spilled = self.chains.values().map(|record| &record.links).filter(|links| links.spilled());
        let spilled = spilled.map(|links| allocation_bytes(links.capacity() * size_of::<(u32, ChainPosition)>()));
        table_bytes::<(EventSn, ChainPosition)>(self.positions.capacity())
            + table_bytes::<(Chain, ChainRecord)>(self.chains.capacity())
            + spilled.sum::<usize>()
            + table_bytes::<(Chain, Citations)>(self.citations.capacity())
            + self.citations.values().map(|citations| citations.links.len() * LINK_BYTES).sum::<usize>()
    }
}

impl ChainCover {
    /// An index without events. An index that is stored, and not loaded yet, looks the same.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the place of an event.
    pub fn add_position(&mut self, row: PositionedEvent) {
        self.positions.insert(row.event_sn, row.position);
    }

    /// Adds a chain with all of its links.
    pub fn add_chain(&mut self, loaded: LoadedChain) {
        let mut links = SmallVec::from_vec(loaded.links);
        links.sort_unstable();
        self.chains.insert(loaded.chain, ChainRecord { length: loaded.length, parent: loaded.parent, links });
    }

    /// Adds all links whose `to` is in the chain of `cited` and not before it, as the number that they reach and the
    /// event they come from.
    pub fn add_citations(&mut self, cited: ChainPosition, links: impl IntoIterator<Item = (u32, ChainPosition)>) {
        let unknown = || Citations { known_from: u32::MAX, links: BTreeSet::new() };
        let citations = self.citations.entry(cited.chain).or_insert_with(unknown);
        citations.known_from = citations.known_from.min(cited.seq);
        citations.links.extend(links);
    }

    /// The place of an event.
    pub fn position(&self, event_sn: EventSn) -> Option<ChainPosition> {
        self.positions.get(&event_sn).copied()
    }

    /// Where a chain branches off, if it does; the outer `None` when it has to be loaded.
    pub(crate) fn parent(&self, chain: Chain) -> Option<Option<ChainPosition>> {
        self.chains.get(&chain).map(|record| record.parent)
    }

    /// How many events, chains and links are in memory.
    pub fn size(&self) -> (usize, usize, usize) {
        (self.positions.len(), self.chains.len(), self.chains.values().map(|record| record.links.len()).sum())
    }

    /// Whether `ancestor` is in the auth chain of `event`. No event is in its own.
    ///
    /// # Errors
    /// What has to be loaded first.
    pub fn is_in_auth_chain(&self, ancestor: EventSn, event: EventSn) -> Result<bool, ChainNeed> {
        let Some(place) = self.position(ancestor) else {
            return Err(ChainNeed { positions: vec![ancestor], ..ChainNeed::default() });
        };
        let mut walk = AuthChainWalk::new([[event]]);
        walk.run_until(self, |walk| walk.reach(place.chain, 0) >= place.seq)?;
        Ok(ancestor != event && walk.reach(place.chain, 0) >= place.seq)
    }

    /// Takes out what [`ChainCover::insert`] has put in, because it will not be stored. What else is known of the same chains
    /// has to be loaded again.
    pub fn remove(&mut self, rows: &NewRows) {
        for PositionedEvent { event_sn, position } in &rows.events {
            self.positions.remove(event_sn);
            self.chains.remove(&position.chain);
            if position.chain == Chain(*event_sn) {
                self.citations.remove(&position.chain);
            }
        }
        for link in &rows.links {
            if let Some(known) = self.citations.get_mut(&link.to.chain) {
                known.links.remove(&(link.to.seq, link.from));
            }
        }
    }

    /// The links to events of `cited.chain` from `cited` to `before`, unless they have to be loaded.
    pub(super) fn citations(
        &self,
        cited: ChainPosition,
        before: u32,
    ) -> Option<impl Iterator<Item = (u32, ChainPosition)>> {
        let known = self.citations.get(&cited.chain).filter(|known| known.known_from <= cited.seq)?;
        let first = (cited.seq, ChainPosition { chain: Chain(EventSn(i64::MIN)), seq: 0 });
        Some(known.links.range(first..).take_while(move |(seq, _)| *seq < before).copied())
    }

    pub(super) fn start_chain(&mut self, chain: Chain, parent: Option<ChainPosition>) {
        self.chains.insert(chain, ChainRecord { length: 1, parent, links: SmallVec::new() });
        self.citations.insert(chain, Citations { known_from: 0, links: BTreeSet::new() });
    }

    pub(super) fn cite(&mut self, from: ChainPosition, to: ChainPosition) {
        if let Some(known) = self.citations.get_mut(&to.chain)
            && to.seq >= known.known_from
        {
            known.links.insert((to.seq, from));
        }
    }
}

impl ChainRecord {
    /// The links of the first `seq` events.
    pub(super) fn links_up_to(&self, seq: u32) -> &[(u32, ChainPosition)] {
        let end = self.links.partition_point(|(from, _)| *from <= seq);
        self.links.get(..end).unwrap_or_default()
    }
}
