//! The index as a database keeps it.

use std::collections::{BTreeMap, BTreeSet};

use homeserver_core::EventSn;

use crate::auth_chain::{
    Chain, ChainCover, ChainLink, ChainNeed, ChainPosition, ChainRange, ChainStart, IndexedEvent, LoadedChain, NewRows,
    PositionedEvent,
};

/// Tables with the columns of the rows.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    events: BTreeMap<EventSn, ChainPosition>,
    by_position: BTreeMap<ChainPosition, EventSn>,
    starts: BTreeMap<Chain, ChainPosition>,
    links: BTreeSet<(ChainPosition, ChainPosition)>,
    links_back: BTreeSet<(ChainPosition, ChainPosition)>,
}

impl Rows {
    pub(crate) fn add(&mut self, rows: &NewRows) {
        for PositionedEvent { event_sn, position } in &rows.events {
            assert_eq!(self.events.insert(*event_sn, *position), None, "one row for each event");
            assert_eq!(self.by_position.insert(*position, *event_sn), None, "one event for each position");
        }
        for ChainStart { chain, parent } in &rows.starts {
            assert_eq!(self.starts.insert(*chain, *parent), None, "a chain has one beginning");
        }
        for ChainLink { from, to } in &rows.links {
            assert!(self.links.insert((*from, *to)), "a link is stored once");
            self.links_back.insert((*to, *from));
        }
    }

    /// Inserts events while nothing of the index is in memory.
    pub(crate) fn insert(&mut self, events: &[IndexedEvent]) -> NewRows {
        let mut cover = ChainCover::new();
        loop {
            match cover.insert(events) {
                Ok(rows) => {
                    self.add(&rows);
                    return rows;
                }
                Err(need) => self.load(&need, &mut cover),
            }
        }
    }

    /// Loads what was asked for, and no more.
    pub(crate) fn load(&self, need: &ChainNeed, cover: &mut ChainCover) {
        assert!(!need.is_empty(), "something is asked for");
        for event_sn in &need.positions {
            cover.add_position(PositionedEvent { event_sn: *event_sn, position: self.events[event_sn] });
        }
        for chain in &need.chains {
            let length = self.whole(*chain).map(|(position, _)| position.seq).last().unwrap();
            let links = self.links.range((start_of(*chain), start_of(Chain(EventSn(i64::MIN))))..);
            let links = links.take_while(|(from, _)| from.chain == *chain).map(|(from, to)| (from.seq, *to)).collect();
            cover.add_chain(LoadedChain { chain: *chain, length, parent: self.starts.get(chain).copied(), links });
        }
        for cited in &need.citations {
            let links = self.links_back.range((*cited, start_of(Chain(EventSn(i64::MIN))))..);
            let links = links.take_while(|(to, _)| to.chain == cited.chain).map(|(to, from)| (to.seq, *from));
            cover.add_citations(*cited, links);
        }
    }

    pub(crate) fn range(&self, range: ChainRange) -> Vec<EventSn> {
        let events = self.whole(range.chain).filter(|(position, _)| (range.first..=range.last).contains(&position.seq));
        let events: Vec<EventSn> = events.map(|(_, sn)| *sn).collect();
        assert_eq!(u64::try_from(events.len()).unwrap(), range.count(), "ranges have no gaps");
        events
    }

    pub(crate) fn ranges(&self, ranges: &[ChainRange]) -> BTreeSet<EventSn> {
        ranges.iter().flat_map(|range| self.range(*range)).collect()
    }

    pub(crate) fn links(&self) -> usize {
        self.links.len()
    }

    fn whole(&self, chain: Chain) -> impl Iterator<Item = (&ChainPosition, &EventSn)> {
        self.by_position.range(start_of(chain)..).take_while(move |(position, _)| position.chain == chain)
    }
}

fn start_of(chain: Chain) -> ChainPosition {
    ChainPosition { chain, seq: 0 }
}
