//! Comparing maps, level by level, without looking into what they share.

use std::collections::HashMap;

use homeserver_core::EventSn;
use smallvec::SmallVec;

use super::{Chunk, ChunkId, Chunks, Place, StateMapError, chunks::load, error::Wanted, read::load_row};

/// A place at which two maps differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// The place.
    pub place: Place,
    /// The event of the first map.
    pub before: Option<EventSn>,
    /// The event of the second map.
    pub after: Option<EventSn>,
}

/// A place at which not all of several maps agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The place.
    pub place: Place,
    /// The event of each map, in their order.
    pub events: SmallVec<[Option<EventSn>; 4]>,
}

/// The places at which not all maps agree, in order.
pub(super) fn conflicts<C: Chunks + ?Sized>(chunks: &C, roots: &[ChunkId]) -> Result<Vec<Conflict>, StateMapError> {
    let mut distinct = roots.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let mut maps = load_roots(chunks, &distinct)?;
    let height = maps.iter().flatten().map(Chunk::level).max().unwrap_or_default();
    for level in (0..height).rev() {
        descend(chunks, level, &mut maps)?;
    }
    let map_of_root: Vec<usize> = roots.iter().filter_map(|root| distinct.binary_search(root).ok()).collect();
    let mut conflicts = Vec::new();
    merge(&maps, |place, events| {
        let events = map_of_root.iter().map(|map| events.get(*map).copied().flatten()).collect();
        conflicts.push(Conflict { place, events });
    });
    Ok(conflicts)
}

/// The places at which two maps differ, in order.
pub(super) fn diff<C: Chunks + ?Sized>(
    chunks: &C,
    before: ChunkId,
    after: ChunkId,
) -> Result<Vec<Difference>, StateMapError> {
    if before == after {
        return Ok(Vec::new());
    }
    let mut maps = load_roots(chunks, &[before, after])?;
    let height = maps.iter().flatten().map(Chunk::level).max().unwrap_or_default();
    for level in (0..height).rev() {
        descend(chunks, level, &mut maps)?;
    }
    let mut differences = Vec::new();
    merge(&maps, |place, events| {
        if let [before, after] = *events {
            differences.push(Difference { place, before, after });
        }
    });
    Ok(differences)
}

/// Each map as its chunks on one level, or as its root while that is on a lower one.
type Maps = Vec<Vec<Chunk>>;

fn load_roots<C: Chunks + ?Sized>(chunks: &C, roots: &[ChunkId]) -> Result<Maps, StateMapError> {
    let mut wanted = Wanted::default();
    let mut maps = Vec::with_capacity(roots.len());
    for root in roots {
        let is_empty = *root == ChunkId::EMPTY;
        let chunk = if is_empty { None } else { wanted.note(load(chunks, *root))? };
        maps.push(chunk.into_iter().collect());
    }
    wanted.finish()?;
    Ok(maps)
}

/// Replaces the chunks one level higher by their children, and drops what all maps have.
///
/// A chunk that all of them have holds the same entries in all of them, and no map has its places twice, so they all
/// agree on those. Equal contents are in equal chunks on the same level, so what is left does differ.
fn descend<C: Chunks + ?Sized>(chunks: &C, level: u8, maps: &mut Maps) -> Result<(), StateMapError> {
    let mut holders: HashMap<ChunkId, usize> = HashMap::new();
    for chunk in maps.iter().flatten() {
        if chunk.level() == level {
            *holders.entry(chunk.id()).or_default() += 1;
        } else if chunk.level() > level {
            chunk.children().for_each(|id| *holders.entry(id).or_default() += 1);
        }
    }
    holders.retain(|_, count| *count == maps.len());
    let mut wanted = Wanted::default();
    for map in maps.iter_mut() {
        let mut below = Vec::with_capacity(map.len());
        for chunk in map.drain(..) {
            if chunk.level() <= level {
                below.extend(Some(chunk).filter(|chunk| !holders.contains_key(&chunk.id())));
                continue;
            }
            for row in 0..chunk.rows() {
                if !holders.contains_key(&chunk.child_id(row)) {
                    below.extend(wanted.note(load_row(chunks, &chunk, row))?);
                }
            }
        }
        *map = below;
    }
    wanted.finish()
}

/// Calls `found` for each place at which the leaves do not all have the same.
fn merge(maps: &Maps, mut found: impl FnMut(Place, &[Option<EventSn>])) {
    let mut entries: Vec<_> =
        maps.iter().map(|leaves| leaves.iter().flat_map(Chunk::iter::<EventSn>).peekable()).collect();
    let mut events: Vec<Option<EventSn>> = Vec::with_capacity(maps.len());
    while let Some(place) = entries.iter_mut().filter_map(|entries| entries.peek().map(|(place, _)| *place)).min() {
        events.clear();
        events.extend(entries.iter_mut().map(|entries| Some(entries.next_if(|entry| entry.0 == place)?.1)));
        if events.windows(2).any(|pair| pair.first() != pair.last()) {
            found(place, &events);
        }
    }
}
