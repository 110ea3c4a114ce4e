//! Putting new events into the index.

use homeserver_core::EventSn;
use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use super::{Chain, ChainCover, ChainLink, ChainNeed, ChainPosition, ChainStart, PositionedEvent};

/// How many of the first and of the last links of a chain are looked at to find one that makes a new link needless.
/// The first lead to the beginning of the room, the last to what is current.
const FIRST_LINKS: usize = 4;
const LAST_LINKS: usize = 16;

/// An event to be put into the index.
#[derive(Debug, Clone)]
pub struct IndexedEvent {
    /// The event.
    pub event_sn: EventSn,
    /// Its auth events. All are in the index, or before it in the same call.
    pub auth_events: SmallVec<[EventSn; 5]>,
    /// The first of them that has the type and state key of this event.
    pub replaces: Option<EventSn>,
}

/// What new events add to the index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewRows {
    /// One for each event.
    pub events: Vec<PositionedEvent>,
    /// Chains that branch off others.
    pub starts: Vec<ChainStart>,
    /// At most one for each auth event.
    pub links: Vec<ChainLink>,
}

impl ChainCover {
    /// Places events, each after its auth events. Those that are in the index already are passed over.
    ///
    /// The work for an event is bounded by the number of its auth events, whatever the size of the room. What is in
    /// memory of the chains concerned must be up to date, so a caller that shares the index with others takes part in
    /// one order of writes.
    ///
    /// # Errors
    /// What has to be loaded first; nothing has changed then.
    pub fn insert(&mut self, events: &[IndexedEvent]) -> Result<NewRows, ChainNeed> {
        let need = self.need_for_insert(events);
        if !need.is_empty() {
            return Err(need);
        }
        let mut rows = NewRows::default();
        for event in events {
            if !self.positions.contains_key(&event.event_sn) {
                self.place(event, &mut rows);
            }
        }
        Ok(rows)
    }

    fn place(&mut self, event: &IndexedEvent, rows: &mut NewRows) {
        let mut auth_events: SmallVec<[ChainPosition; 5]> =
            event.auth_events.iter().filter_map(|sn| self.position(*sn)).collect();
        auth_events.sort_unstable();
        auth_events.dedup();

        let replaced = event.replaces.and_then(|sn| self.position(sn));
        let continued = replaced
            .filter(|replaced| self.chains.get(&replaced.chain).is_some_and(|record| record.length == replaced.seq));
        let position = match continued {
            Some(last) => ChainPosition { chain: last.chain, seq: last.seq.saturating_add(1) },
            None => ChainPosition { chain: Chain(event.event_sn), seq: 1 },
        };
        let linked: SmallVec<[ChainPosition; 5]> = auth_events
            .iter()
            .copied()
            .filter(|target| Some(*target) != continued)
            .filter(|target| {
                !auth_events.iter().any(|other| other != target && self.reaches_nearby(*other, *target, 1))
            })
            .collect();

        if continued.is_none() {
            self.start_chain(position.chain, replaced);
            rows.starts.extend(replaced.map(|parent| ChainStart { chain: position.chain, parent }));
        }
        if let Some(record) = self.chains.get_mut(&position.chain) {
            record.length = position.seq;
            record.links.extend(linked.iter().map(|target| (position.seq, *target)));
        }
        for to in linked {
            self.cite(position, to);
            rows.links.push(ChainLink { from: position, to });
        }
        self.positions.insert(event.event_sn, position);
        rows.events.push(PositionedEvent { event_sn: event.event_sn, position });
    }

    /// Whether the links nearby show that `to` is at or below `from`. If they do not, it may still be.
    fn reaches_nearby(&self, from: ChainPosition, to: ChainPosition, hops: u32) -> bool {
        if from.chain == to.chain {
            return from.seq >= to.seq;
        }
        self.links_nearby(from).any(|next| next.chain == to.chain && next.seq >= to.seq)
            || (hops > 0 && self.links_nearby(from).any(|next| self.reaches_nearby(next, to, hops - 1)))
    }

    fn links_nearby(&self, from: ChainPosition) -> impl Iterator<Item = ChainPosition> {
        let links = self.chains.get(&from.chain).map_or(&[][..], |record| record.links_up_to(from.seq));
        let (older, last) = links.split_at(links.len().saturating_sub(LAST_LINKS));
        older.iter().take(FIRST_LINKS).chain(last).map(|(_, to)| *to)
    }

    /// The positions of the auth events, their chains, and the chains that those lead to, each when the former is
    /// there.
    fn need_for_insert(&self, events: &[IndexedEvent]) -> ChainNeed {
        let mut new = FxHashSet::default();
        let mut known = FxHashSet::default();
        let mut need = ChainNeed::default();
        for event in events {
            for auth_event in event.auth_events.iter().filter(|sn| !new.contains(*sn)) {
                known.extend(self.position(*auth_event));
                if !self.positions.contains_key(auth_event) {
                    need.positions.push(*auth_event);
                }
            }
            new.insert(event.event_sn);
        }
        if need.positions.is_empty() {
            need.chains.extend(known.iter().map(|position| position.chain).filter(|chain| self.lacks(*chain)));
        }
        if need.positions.is_empty() && need.chains.is_empty() {
            let next = known.iter().flat_map(|position| self.links_nearby(*position));
            need.chains.extend(next.map(|position| position.chain).filter(|chain| self.lacks(*chain)));
        }
        need.positions.sort_unstable();
        need.positions.dedup();
        need.chains.sort_unstable();
        need.chains.dedup();
        need
    }

    fn lacks(&self, chain: Chain) -> bool {
        !self.chains.contains_key(&chain)
    }
}
