//! Whether events are in the auth chains of a state that can only be asked for single keys.

use std::{cmp::Reverse, collections::BinaryHeap};

use homeserver_core::EventSn;
use rustc_hash::FxHashMap;

use super::{Chain, ChainCover, ChainNeed, ChainPosition, ChainRange};

/// What is known of the event that the state has in the place of a chain's events; a chain is missing from the map until
/// that has been looked up.
pub(crate) type Counterparts = FxHashMap<Chain, Option<EventSn>>;

/// Finds what of some ranges is neither in a state nor in its auth chains.
///
/// Loading the whole state would tell, but it is as large as the room. Instead the search goes from the events of the
/// ranges to those that cite them, and stops wherever it meets an event of the state. All events of a chain belong to one
/// place in the state, so one lookup for each chain tells whether the state is met there.
#[derive(Debug, Clone)]
pub(crate) struct CitationSearch {
    ranges: Vec<ChainRange>,
    nodes: FxHashMap<Chain, Node>,
    frontier: Vec<Chain>,
}

/// What has to be loaded: of the index, and for which chains the counterpart in the state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CitationNeed {
    pub(crate) chains: ChainNeed,
    pub(crate) counterparts: Vec<Chain>,
}

#[derive(Debug, Clone)]
struct Node {
    /// The events up to this number are known to be in the state or its auth chains.
    cited: u32,
    /// For one of the ranges: its last event.
    last: u32,
    /// Whether the state has been asked.
    entered: bool,
    /// The first event that citations are sought for.
    wanted: u32,
    /// Citations of the events from this number on have been followed.
    expanded: u32,
    /// Links from this chain that count once their origin is known to be cited: the number of that, and the target.
    pending: BinaryHeap<Reverse<(u32, ChainPosition)>>,
}

impl Node {
    fn new() -> Self {
        Self { cited: 0, last: 0, entered: false, wanted: u32::MAX, expanded: u32::MAX, pending: BinaryHeap::new() }
    }

    fn is_open(&self) -> bool {
        self.cited < self.last || !self.pending.is_empty()
    }
}

impl CitationSearch {
    pub(crate) fn new(ranges: Vec<ChainRange>) -> Self {
        let mut nodes = FxHashMap::default();
        for range in &ranges {
            let node = nodes.entry(range.chain).or_insert_with(Node::new);
            node.last = node.last.max(range.last);
            node.wanted = node.wanted.min(range.first);
        }
        Self { frontier: ranges.iter().map(|range| range.chain).collect(), ranges, nodes }
    }

    /// Searches to the end. The error is what has to be loaded first; the search then goes on where it stopped.
    pub(crate) fn run(&mut self, cover: &ChainCover, counterparts: &Counterparts) -> Result<(), CitationNeed> {
        while !self.frontier.is_empty() && !self.uncited().is_empty() {
            self.frontier.sort_unstable();
            self.frontier.dedup();
            self.enter_all(cover, counterparts)?;
            self.expand_all(cover)?;
        }
        Ok(())
    }

    /// The parts of the ranges that the state does not have in its auth chains.
    pub(crate) fn uncited(&self) -> Vec<ChainRange> {
        let rest = |range: &ChainRange| {
            let cited = self.nodes.get(&range.chain).map_or(0, |node| node.cited);
            let first = range.first.max(cited.saturating_add(1));
            (first <= range.last).then_some(ChainRange { first, ..*range })
        };
        self.ranges.iter().filter_map(rest).collect()
    }

    fn enter_all(&mut self, cover: &ChainCover, counterparts: &Counterparts) -> Result<(), CitationNeed> {
        let mut need = CitationNeed::default();
        for chain in self.frontier.clone() {
            if self.nodes.get(&chain).is_none_or(|node| node.entered) {
                continue;
            }
            let seq = match counterparts.get(&chain) {
                None => {
                    need.counterparts.push(chain);
                    continue;
                }
                Some(None) => 0,
                Some(Some(event_sn)) => match cover.position(*event_sn) {
                    None => {
                        need.chains.positions.push(*event_sn);
                        continue;
                    }
                    Some(position) if position.chain == chain => position.seq,
                    Some(_) => 0,
                },
            };
            if let Some(node) = self.nodes.get_mut(&chain) {
                node.entered = true;
            }
            self.raise(ChainPosition { chain, seq });
        }
        if need == CitationNeed::default() { Ok(()) } else { Err(need) }
    }

    fn expand_all(&mut self, cover: &ChainCover) -> Result<(), CitationNeed> {
        let mut blocked = Vec::new();
        let mut found = Vec::new();
        let mut need = CitationNeed::default();
        for chain in std::mem::take(&mut self.frontier) {
            let Some(node) = self.nodes.get_mut(&chain) else { continue };
            // Citations of what is known to be cited tell nothing new.
            let wanted = ChainPosition { chain, seq: node.wanted.max(node.cited.saturating_add(1)) };
            if !node.is_open() || wanted.seq >= node.expanded {
                continue;
            }
            match cover.citations(wanted, node.expanded) {
                Some(links) => {
                    node.expanded = wanted.seq;
                    found.extend(links.map(|(seq, from)| (from, ChainPosition { chain, seq })));
                }
                None => {
                    need.chains.citations.push(wanted);
                    blocked.push(chain);
                }
            }
        }
        self.frontier = blocked;
        for (from, to) in found {
            self.add_link(from, to);
        }
        if need == CitationNeed::default() { Ok(()) } else { Err(need) }
    }

    fn add_link(&mut self, from: ChainPosition, to: ChainPosition) {
        let node = self.nodes.entry(from.chain).or_insert_with(Node::new);
        if node.cited >= from.seq {
            self.raise(to);
            return;
        }
        node.pending.push(Reverse((from.seq, to)));
        node.wanted = node.wanted.min(from.seq);
        self.frontier.push(from.chain);
    }

    fn raise(&mut self, position: ChainPosition) {
        let mut queue = vec![position];
        while let Some(position) = queue.pop() {
            let Some(node) = self.nodes.get_mut(&position.chain) else { continue };
            node.cited = node.cited.max(position.seq);
            while let Some(Reverse((seq, to))) = node.pending.peek().copied() {
                if seq > node.cited {
                    break;
                }
                node.pending.pop();
                queue.push(to);
            }
        }
    }
}
