//! The full conflicted set.

use homeserver_core::EventSn;
use rustc_hash::FxHashSet;

use super::{Conflict, Need};
use crate::auth_chain::{
    AuthChainWalk, ChainCover, ChainPosition, ChainRange, CitationSearch, Counterparts, paths_between,
};

/// Finds the [full conflicted set](https://spec.matrix.org/v1.19/rooms/v12/#definitions): the conflicted events and, as
/// ranges of the index, what the auth chains differ in and what lies between conflicted events.
///
/// The auth chains are those of the conflicted events alone. What they differ in is a little more than what the auth
/// chains of the whole states do: it has also what the state that all have in common leads to, which is sought and taken
/// out at the end.
pub(super) struct FullSetSearch {
    conflicted: FxHashSet<EventSn>,
    with_subgraph: bool,
    stage: Stage,
}

enum Stage {
    Walk(AuthChainWalk),
    Cite { search: CitationSearch, subgraph: Vec<ChainRange> },
}

impl FullSetSearch {
    pub(super) fn new(conflicts: &[Conflict], with_subgraph: bool) -> Self {
        let forks = conflicts.first().map_or(0, |conflict| conflict.events.len());
        let of_fork =
            |fork: usize| conflicts.iter().filter_map(move |conflict| conflict.events.get(fork).copied().flatten());
        Self {
            conflicted: (0..forks).flat_map(of_fork).collect(),
            with_subgraph,
            stage: Stage::Walk(AuthChainWalk::new((0..forks).map(of_fork))),
        }
    }

    pub(super) fn conflicted(&self) -> &FxHashSet<EventSn> {
        &self.conflicted
    }

    /// The ranges to be added to the conflicted events. They may have some of these, and of each other, in them.
    pub(super) fn run(
        &mut self,
        cover: &ChainCover,
        counterparts: &Counterparts,
    ) -> Result<Vec<ChainRange>, Box<Need>> {
        if let Stage::Walk(walk) = &mut self.stage {
            walk.run(cover)?;
            let mut difference = walk.difference();
            drop_conflicted(&self.conflicted, cover, &mut difference);
            let mut subgraph = Vec::new();
            if self.with_subgraph {
                let ends: Vec<EventSn> = self.conflicted.iter().copied().collect();
                subgraph = paths_between(walk, cover, &ends);
                drop_conflicted(&self.conflicted, cover, &mut subgraph);
            }
            self.stage = Stage::Cite { search: CitationSearch::new(difference), subgraph };
        }
        let Stage::Cite { search, subgraph } = &mut self.stage else { return Ok(Vec::new()) };
        search.run(cover, counterparts).map_err(|need| {
            let counterparts = need.counterparts.into_iter().map(|chain| chain.0).collect();
            Box::new(Need { counterparts, chains: need.chains, ..Need::default() })
        })?;
        let mut ranges = search.uncited();
        ranges.append(subgraph);
        Ok(ranges)
    }
}

/// Takes conflicted events off both ends of the ranges.
fn drop_conflicted(conflicted: &FxHashSet<EventSn>, cover: &ChainCover, ranges: &mut Vec<ChainRange>) {
    let positions: FxHashSet<_> = conflicted.iter().filter_map(|sn| cover.position(*sn)).collect();
    let is_conflicted = |chain, seq| positions.contains(&ChainPosition { chain, seq });
    ranges.retain_mut(|range| {
        while range.first <= range.last && is_conflicted(range.chain, range.first) {
            range.first += 1;
        }
        while range.first < range.last && is_conflicted(range.chain, range.last) {
            range.last -= 1;
        }
        range.first <= range.last
    });
}
