//! Comparing maps, level by level, without reading the chunks that they share.

use homeserver_core::EventSn;
use smallvec::SmallVec;

use super::{Chunk, ChunkId, Chunks, Place, StateMapError, chunks::load, error::Wanted, read::load_row, row::all_rows};

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

/// A place at which several maps differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceConflict {
    /// The place.
    pub place: Place,
    /// The event of each map, in their order.
    pub events: SmallVec<[Option<EventSn>; 4]>,
}

/// The places at which the maps differ, in order.
pub(super) fn conflicts<C: Chunks + ?Sized>(
    chunks: &C,
    roots: &[ChunkId],
) -> Result<Vec<PlaceConflict>, StateMapError> {
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
        conflicts.push(PlaceConflict { place, events });
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

/// Replaces the chunks one level higher by their children, and drops the chunks that all maps have.
///
/// A chunk that all of them have holds the same entries in all of them, and no map has its places twice, so they all
/// agree on those. Equal contents are in equal chunks on the same level, so the remaining chunks differ.
fn descend<C: Chunks + ?Sized>(chunks: &C, level: u8, maps: &mut Maps) -> Result<(), StateMapError> {
    let parts: Vec<Vec<Part<'_>>> = maps.iter().map(|map| parts(level, map)).collect();
    let mut shared: Vec<(Place, ChunkId)> = parts.first().into_iter().flatten().map(|part| part.name).collect();
    for parts in parts.iter().skip(1) {
        let mut is_part = finder(parts.iter().map(|part| part.name));
        shared.retain(|name| is_part(name));
    }
    let mut wanted = Wanted::default();
    let mut below = Vec::with_capacity(maps.len());
    for parts in parts {
        let mut is_shared = finder(shared.iter().copied());
        let mut map = Vec::new();
        for part in parts.iter().filter(|part| !is_shared(&part.name)) {
            map.extend(match part.row {
                Some(row) => wanted.note(load_row(chunks, part.chunk, row))?,
                None => Some(part.chunk.clone()),
            });
        }
        below.push(map);
    }
    wanted.finish()?;
    *maps = below;
    Ok(())
}

/// A chunk of a level, or a root below it.
struct Part<'m> {
    name: (Place, ChunkId),
    /// The chunk itself, or its parent.
    chunk: &'m Chunk,
    /// Its row in its parent.
    row: Option<usize>,
}

fn parts(level: u8, map: &[Chunk]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    for chunk in map {
        if chunk.level() <= level {
            parts.push(Part { name: (chunk.place(0), chunk.id()), chunk, row: None });
        } else {
            let rows = 0..chunk.rows();
            parts.extend(rows.map(|row| Part { name: (chunk.place(row), chunk.child_id(row)), chunk, row: Some(row) }));
        }
    }
    parts
}

/// Tells whether a name is among `names`; both those and the ones asked for come in the order of their places.
fn finder(names: impl Iterator<Item = (Place, ChunkId)>) -> impl FnMut(&(Place, ChunkId)) -> bool {
    let mut names = names.peekable();
    move |name| {
        while names.next_if(|next| next.0 < name.0).is_some() {}
        names.peek() == Some(name)
    }
}

/// Calls `found` for each place at which the leaves do not all have the same.
fn merge(maps: &Maps, mut found: impl FnMut(Place, &[Option<EventSn>])) {
    let entries: Vec<Vec<(Place, EventSn)>> = maps.iter().map(|leaves| all_rows(leaves)).collect();
    let mut rest: Vec<&[(Place, EventSn)]> = entries.iter().map(Vec::as_slice).collect();
    let mut events: Vec<Option<EventSn>> = Vec::with_capacity(maps.len());
    while let Some(place) = rest.iter().filter_map(|entries| Some(entries.first()?.0)).min() {
        events.clear();
        for entries in &mut rest {
            let next = entries.split_first().filter(|(entry, _)| entry.0 == place);
            events.push(next.map(|(entry, _)| entry.1));
            *entries = next.map_or(*entries, |(_, behind)| behind);
        }
        if events.windows(2).any(|pair| pair.first() != pair.last()) {
            found(place, &events);
        }
    }
}
