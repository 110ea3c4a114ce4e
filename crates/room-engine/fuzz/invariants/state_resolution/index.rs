//! The index of the auth chains: its rows, and whether it agrees with walks from event to event.

use std::collections::BTreeSet;

use homeserver_core::EventSn;
use room_engine::auth_chain::{
    AuthChainWalk, ChainCover, ChainNeed, ChainRange, IndexedEvent, LoadedChain, NewRows, paths_between,
};

use super::room::{Room, State};

pub(super) struct Index<'a> {
    room: &'a Room,
    rows: NewRows,
}

impl<'a> Index<'a> {
    /// Puts the events of a room into an index, some at a time.
    pub(super) fn new(room: &'a Room) -> Self {
        let mut index = Self { room, rows: NewRows::default() };
        let events: Vec<IndexedEvent> = room.order.iter().map(|sn| indexed(room, *sn)).collect();
        for batch in events.chunks(room.batch) {
            let rows = index.ask(|cover| cover.insert(batch));
            index.rows.events.extend(rows.events);
            index.rows.starts.extend(rows.starts);
            index.rows.links.extend(rows.links);
        }
        index
    }

    /// What the index says of the states of the room is what the auth events say.
    pub(super) fn check(&self) {
        assert_eq!(self.rows.events.len(), self.room.events.len());
        let forks = || self.room.forks.iter().map(|fork| fork.values().copied());
        let difference = self.ask_walk(AuthChainWalk::new(forks()), |walk, _| walk.difference());
        assert_eq!(self.ranges(&difference), self.room.difference(forks()), "the auth difference");

        let ends: BTreeSet<EventSn> = self.room.forks.iter().flat_map(State::values).copied().collect();
        let list: Vec<EventSn> = ends.iter().copied().collect();
        let paths = self.ask_walk(AuthChainWalk::new([list.clone()]), |walk, cover| paths_between(walk, cover, &list));
        assert_eq!(self.ranges(&paths), self.room.between(&ends), "what lies on paths between events");

        let Some(newest) = self.room.order.last() else { return };
        let chain = self.room.closure([*newest]);
        for ancestor in self.room.order.iter().rev().step_by(5) {
            let found = self.ask(|cover| cover.is_in_auth_chain(*ancestor, *newest));
            assert_eq!(found, ancestor != newest && chain.contains(ancestor), "{ancestor:?} in that of {newest:?}");
        }
    }

    /// Asks with nothing in memory, and loads what is missing.
    fn ask<T>(&self, mut question: impl FnMut(&mut ChainCover) -> Result<T, ChainNeed>) -> T {
        let mut cover = ChainCover::new();
        let mut asked = ChainNeed::default();
        loop {
            match question(&mut cover) {
                Ok(answer) => return answer,
                Err(need) => {
                    assert_ne!(need, asked, "nothing is asked for twice");
                    self.load(&need, &mut cover);
                    asked = need;
                }
            }
        }
    }

    fn ask_walk<T>(&self, mut walk: AuthChainWalk, answer: impl Fn(&AuthChainWalk, &ChainCover) -> T) -> T {
        self.ask(|cover| {
            walk.run(cover)?;
            Ok(answer(&walk, cover))
        })
    }

    pub(super) fn load(&self, need: &ChainNeed, cover: &mut ChainCover) {
        let NewRows { events, starts, links } = &self.rows;
        for event in &need.positions {
            let row = events.iter().find(|row| row.event_sn == *event).expect("only events of the room are asked for");
            cover.add_position(*row);
        }
        for chain in &need.chains {
            let of_chain = events.iter().filter(|row| row.position.chain == *chain);
            cover.add_chain(LoadedChain {
                chain: *chain,
                length: of_chain.map(|row| row.position.seq).max().expect("only chains of the room are asked for"),
                parent: starts.iter().find(|start| start.chain == *chain).map(|start| start.parent),
                links: links
                    .iter()
                    .filter(|link| link.from.chain == *chain)
                    .map(|link| (link.from.seq, link.to))
                    .collect(),
            });
        }
        for cited in &need.citations {
            let later = links.iter().filter(|link| link.to.chain == cited.chain && link.to.seq >= cited.seq);
            cover.add_citations(*cited, later.map(|link| (link.to.seq, link.from)));
        }
    }

    pub(super) fn range(&self, range: ChainRange) -> BTreeSet<EventSn> {
        let rows =
            self.rows.events.iter().filter(|row| {
                row.position.chain == range.chain && (range.first..=range.last).contains(&row.position.seq)
            });
        let events: BTreeSet<EventSn> = rows.map(|row| row.event_sn).collect();
        assert_eq!(events.len() as u64, range.count(), "ranges have no gaps");
        events
    }

    fn ranges(&self, ranges: &[ChainRange]) -> BTreeSet<EventSn> {
        ranges.iter().flat_map(|range| self.range(*range)).collect()
    }
}

fn indexed(room: &Room, sn: EventSn) -> IndexedEvent {
    let auth_events = room.events[&sn].auth_events.clone();
    let key = room.key(sn);
    let replaces = auth_events.iter().copied().find(|auth_event| key.is_some() && room.key(*auth_event) == key);
    IndexedEvent { event_sn: sn, auth_events, replaces }
}
