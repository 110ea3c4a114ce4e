//! Whether events are in the auth chains of a state that can only be asked for single keys.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use homeserver_core::EventSn;
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Chain, ChainCover, ChainNeed, ChainPosition, ChainRange};

/// How many places in the state are asked for at first. Each time that none of them settles the search, it is four times
/// as many.
const FIRST_PAGE: usize = 64;

/// How far from the end of a range it begins. Each further step is eight times as long.
const FIRST_STEP: u32 = 3;

/// What is known of the event that the state has in the place of a chain's events; a chain is missing from the map until
/// that has been looked up.
pub(crate) type Counterparts = FxHashMap<Chain, Option<EventSn>>;

/// Finds what of some ranges is neither in a state nor in its auth chains.
///
/// Loading the whole state would tell, but it is as large as the room. Instead the search goes from the events of the
/// ranges to those that cite them, and stops wherever it meets an event of the state. All events of a chain belong to one
/// place in the state, so one lookup for each chain tells whether the state is met there. It begins at the end of each
/// range, because what cites an event cites all before it.
#[derive(Debug, Clone)]
pub(crate) struct CitationSearch {
    ranges: Vec<RangeSearch>,
    nodes: FxHashMap<Chain, Node>,
    /// Chains, the newest last, whose state has not been read.
    strangers: BTreeSet<Chain>,
    /// Chains that were entered, and whose events may cite a wanted event.
    frontier: BTreeSet<Chain>,
    pub(super) page: usize,
}

/// What has to be loaded: of the index, and for which chains the counterpart in the state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CitationNeed {
    pub(crate) chains: ChainNeed,
    pub(crate) counterparts: Vec<Chain>,
}

impl CitationNeed {
    fn or_nothing(self) -> Result<(), Self> {
        if self == Self::default() { Ok(()) } else { Err(self) }
    }
}

#[derive(Debug, Clone, Copy)]
struct RangeSearch {
    range: ChainRange,
    /// Citations of the events from here to the end of the range are sought. Moves down in growing steps.
    floor: u32,
    is_settled: bool,
}

#[derive(Debug, Clone)]
struct Node {
    /// The events up to this number are known to be in the state or its auth chains.
    cited: u32,
    /// Whether the state has been asked.
    entered: bool,
    /// The first event that citations are sought for.
    wanted: u32,
    /// Citations of the events from this number on have been followed.
    expanded: u32,
    /// Links from this chain that count once their origin is known to be cited: the number of that, and the target.
    pending: BinaryHeap<Reverse<(u32, ChainPosition)>>,
}

impl CitationSearch {
    pub(crate) fn new(ranges: Vec<ChainRange>) -> Self {
        let ranges = ranges.into_iter().map(|range| RangeSearch { range, floor: u32::MAX, is_settled: false });
        Self {
            ranges: ranges.collect(),
            nodes: FxHashMap::default(),
            strangers: BTreeSet::new(),
            frontier: BTreeSet::new(),
            page: FIRST_PAGE,
        }
    }

    /// Searches to the end. The error is what has to be loaded first; the search then goes on where it stopped.
    pub(crate) fn run(&mut self, cover: &ChainCover, counterparts: &Counterparts) -> Result<(), CitationNeed> {
        loop {
            self.settle();
            if self.ranges.iter().all(|search| search.is_settled) {
                return Ok(());
            }
            if !self.strangers.is_empty() {
                self.enter_some(cover, counterparts)?;
            } else if !self.frontier.is_empty() {
                self.expand_all(cover)?;
            } else {
                self.lower_floors();
            }
        }
    }

    /// The parts of the ranges that the state does not have in its auth chains.
    pub(crate) fn uncited(&self) -> Vec<ChainRange> {
        let rest = |search: &RangeSearch| {
            let range = search.range;
            let first = range.first.max(self.cited(range.chain).saturating_add(1));
            (first <= range.last).then_some(ChainRange { first, ..range })
        };
        self.ranges.iter().filter_map(rest).collect()
    }

    fn cited(&self, chain: Chain) -> u32 {
        self.nodes.get(&chain).map_or(0, |node| node.cited)
    }

    /// A range is settled when its end is cited, or when all that cites what comes after a cited event has been looked
    /// through.
    fn settle(&mut self) {
        let is_looked_through = self.strangers.is_empty() && self.frontier.is_empty();
        for search in &mut self.ranges {
            let cited = self.nodes.get(&search.range.chain).map_or(0, |node| node.cited);
            let lowest = search.floor <= search.range.first.max(cited.saturating_add(1));
            search.is_settled |= cited >= search.range.last || (is_looked_through && lowest);
        }
    }

    fn lower_floors(&mut self) {
        for search in self.ranges.iter_mut().filter(|search| !search.is_settled) {
            let ChainRange { chain, first, last } = search.range;
            let step = if search.floor > last { FIRST_STEP } else { (last - search.floor).saturating_mul(8) };
            search.floor = first.max(last.saturating_sub(step));
            let node = self.nodes.entry(chain).or_insert_with(Node::new);
            node.wanted = node.wanted.min(search.floor);
            if node.entered {
                self.frontier.insert(chain)
            } else {
                self.strangers.insert(chain)
            };
        }
    }

    /// Asks for the counterparts of the newest chains, which are the likeliest to be those of the state.
    fn enter_some(&mut self, cover: &ChainCover, counterparts: &Counterparts) -> Result<(), CitationNeed> {
        let mut need = CitationNeed::default();
        let page: Vec<Chain> = self.strangers.iter().rev().take(self.page).copied().collect();
        for chain in page {
            let counterpart = match counterparts.get(&chain) {
                None => {
                    need.counterparts.push(chain);
                    continue;
                }
                Some(counterpart) => *counterpart,
            };
            let place = counterpart.map(|event_sn| cover.position(event_sn).ok_or(event_sn)).transpose();
            match place {
                Err(event_sn) => need.chains.positions.push(event_sn),
                Ok(place) => self.enter(chain, place.filter(|place| place.chain == chain)),
            }
        }
        need.or_nothing()?;
        self.page = self.page.saturating_mul(4);
        Ok(())
    }

    fn enter(&mut self, chain: Chain, met: Option<ChainPosition>) {
        self.strangers.remove(&chain);
        self.frontier.insert(chain);
        if let Some(node) = self.nodes.get_mut(&chain) {
            node.entered = true;
        }
        self.cite(met);
    }

    fn expand_all(&mut self, cover: &ChainCover) -> Result<(), CitationNeed> {
        let mut found = Vec::new();
        let mut need = CitationNeed::default();
        let open: FxHashSet<Chain> =
            self.ranges.iter().filter(|search| !search.is_settled).map(|search| search.range.chain).collect();
        for chain in std::mem::take(&mut self.frontier) {
            let Some(node) = self.nodes.get_mut(&chain) else { continue };
            if node.pending.is_empty() && !open.contains(&chain) {
                continue;
            }
            // Citations of what is known to be cited tell nothing new.
            let wanted = ChainPosition { chain, seq: node.wanted.max(node.cited.saturating_add(1)) };
            if wanted.seq >= node.expanded {
                continue;
            }
            match cover.citations(wanted, node.expanded) {
                Some(links) => {
                    node.expanded = wanted.seq;
                    found.extend(links.map(|(seq, from)| (from, ChainPosition { chain, seq })));
                }
                None => {
                    need.chains.citations.push(wanted);
                    self.frontier.insert(chain);
                }
            }
        }
        for (from, to) in found {
            self.add_link(from, to);
        }
        need.or_nothing()
    }

    fn add_link(&mut self, from: ChainPosition, to: ChainPosition) {
        let node = self.nodes.entry(from.chain).or_insert_with(Node::new);
        if node.cited >= from.seq {
            self.cite(Some(to));
            return;
        }
        node.pending.push(Reverse((from.seq, to)));
        node.wanted = node.wanted.min(from.seq);
        if node.entered {
            self.frontier.insert(from.chain)
        } else {
            self.strangers.insert(from.chain)
        };
    }

    /// Notes that an event is in the state or its auth chains, and what follows from that.
    fn cite(&mut self, event: Option<ChainPosition>) {
        let mut queue: Vec<ChainPosition> = event.into_iter().collect();
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

impl Node {
    fn new() -> Self {
        Self { cited: 0, entered: false, wanted: u32::MAX, expanded: u32::MAX, pending: BinaryHeap::new() }
    }
}
