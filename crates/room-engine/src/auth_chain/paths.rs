//! The events between others.

use homeserver_core::EventSn;

use super::{AuthChainWalk, ChainCover, ChainRange, walk::Visit};

/// A link as its target sees it: the number that it reaches, the index of the chain that it comes from, and the number
/// of the event there.
type LinkBack = (u32, usize, u32);

/// The events on paths through auth events that begin and end at one of `ends`, the ends included: the
/// [conflicted state subgraph](https://spec.matrix.org/v1.19/rooms/v12/#definitions) when these are the conflicted
/// events.
///
/// `walk` must have been run to its end, from sets that are `ends` together.
pub fn paths_between(walk: &AuthChainWalk, cover: &ChainCover, ends: &[EventSn]) -> Vec<ChainRange> {
    let visits = walk.visits();
    let mut links_back = links_back(walk, cover);
    // The first event of each chain that has one of the ends at or below it. All that follow have it too.
    let mut first = vec![u32::MAX; visits.len()];
    let mut queue = Vec::new();
    for position in ends.iter().filter_map(|sn| cover.position(*sn)) {
        if let Some(index) = walk.index(position.chain) {
            lower(&mut first, &mut queue, index, position.seq);
        }
    }
    while let Some(index) = queue.pop() {
        let from = first.get(index).copied().unwrap_or(u32::MAX);
        while let Some((_, origin, seq)) =
            links_back.get_mut(index).and_then(|links| links.pop_if(|(reached, ..)| *reached >= from))
        {
            lower(&mut first, &mut queue, origin, seq);
        }
    }
    let range = |(visit, first): (&Visit, u32)| {
        let last = visit.furthest();
        (first <= last).then_some(ChainRange { chain: visit.chain, first, last })
    };
    visits.iter().zip(first).filter_map(range).collect()
}

fn lower(first: &mut [u32], queue: &mut Vec<usize>, index: usize, seq: u32) {
    if let Some(known) = first.get_mut(index)
        && seq < *known
    {
        *known = seq;
        queue.push(index);
    }
}

/// The links to each visited chain, in the order of what they reach.
fn links_back(walk: &AuthChainWalk, cover: &ChainCover) -> Vec<Vec<LinkBack>> {
    let mut links_back = vec![Vec::new(); walk.visits().len()];
    for (origin, visit) in walk.visits().iter().enumerate() {
        let Some(record) = cover.chains.get(&visit.chain) else { continue };
        for (seq, to) in record.links_up_to(visit.furthest()) {
            if let Some(links) = walk.index(to.chain).and_then(|index| links_back.get_mut(index)) {
                links.push((to.seq, origin, *seq));
            }
        }
    }
    for links in &mut links_back {
        links.sort_unstable();
    }
    links_back
}
