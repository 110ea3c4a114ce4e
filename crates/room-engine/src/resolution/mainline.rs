//! Mainline ordering.

use homeserver_core::EventSn;
use rustc_hash::FxHashMap;

use super::{ResolutionEvent, records::Records};
use crate::auth_chain::{Chain, ChainCover, ChainNeed, ChainPosition};

/// The [mainline](https://spec.matrix.org/v1.19/rooms/v2/#definitions) of a power levels event.
///
/// Each power levels event has the one before it in its chain among its auth events, and the first of a chain the parent
/// of the chain. So the mainline is a number of events for each of a few chains, and no event has to be loaded.
pub(super) struct Mainline<'a> {
    cover: &'a ChainCover,
    /// For each chain of the mainline: its last event there, and how many events of the mainline come before the chain.
    parts: FxHashMap<Chain, (u32, u64)>,
    /// For each chain that is off the mainline: the place where its history comes from the mainline.
    branches: FxHashMap<Chain, u64>,
}

impl<'a> Mainline<'a> {
    pub(super) fn new(cover: &'a ChainCover, power_levels: Option<EventSn>) -> Result<Self, ChainNeed> {
        let mut segments = Vec::new();
        let mut next = power_levels.map(|sn| position(cover, sn)).transpose()?;
        while let Some(last) = next {
            segments.push(last);
            next = parent(cover, last.chain)?;
        }
        let mut before = 0;
        let mut parts = FxHashMap::default();
        for last in segments.into_iter().rev() {
            parts.insert(last.chain, (last.seq, before));
            before += u64::from(last.seq);
        }
        Ok(Self { cover, parts, branches: FxHashMap::default() })
    }

    /// Sorts the events, from those that are based on the beginning of the mainline, or on nothing of it, to those that
    /// are based on its end.
    pub(super) fn sort(mut self, records: &Records, events: &[EventSn]) -> Result<Vec<EventSn>, ChainNeed> {
        let mut need = ChainNeed::default();
        let mut ranked = Vec::with_capacity(events.len());
        for event in events.iter().filter_map(|sn| records.event(*sn)) {
            match self.rank(records, event) {
                Ok(rank) => ranked.push((rank, event.pdu.origin_server_ts(), event.pdu.event_id(), event.sn)),
                Err(missing) => {
                    need.positions.extend(missing.positions);
                    need.chains.extend(missing.chains);
                }
            }
        }
        if !need.is_empty() {
            need.positions.sort_unstable();
            need.positions.dedup();
            need.chains.sort_unstable();
            need.chains.dedup();
            return Err(need);
        }
        ranked.sort_unstable();
        Ok(ranked.into_iter().map(|(.., sn)| sn).collect())
    }

    /// How many events of the mainline there are up to the one that the event is based on: the more, the smaller is its
    /// mainline position.
    fn rank(&mut self, records: &Records, event: &ResolutionEvent) -> Result<u64, ChainNeed> {
        let Some(power_levels) = records.auth_event(event, "m.room.power_levels", "") else { return Ok(0) };
        let start = position(self.cover, power_levels.sn)?;
        let mut passed = Vec::new();
        let mut next = Some(start);
        let rank = loop {
            let Some(place) = next else { break 0 };
            if let Some((last, before)) = self.parts.get(&place.chain) {
                break before + u64::from(place.seq.min(*last));
            }
            if let Some(rank) = self.branches.get(&place.chain) {
                break *rank;
            }
            passed.push(place.chain);
            next = parent(self.cover, place.chain)?;
        };
        self.branches.extend(passed.into_iter().map(|chain| (chain, rank)));
        Ok(rank)
    }
}

fn position(cover: &ChainCover, sn: EventSn) -> Result<ChainPosition, ChainNeed> {
    cover.position(sn).ok_or_else(|| ChainNeed { positions: vec![sn], ..ChainNeed::default() })
}

fn parent(cover: &ChainCover, chain: Chain) -> Result<Option<ChainPosition>, ChainNeed> {
    cover.parent(chain).ok_or_else(|| ChainNeed { chains: vec![chain], ..ChainNeed::default() })
}
