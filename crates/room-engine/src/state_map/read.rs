//! Looking things up, level by level.

use std::ops::Range;

use homeserver_core::EventSn;

use super::{
    Chunk, ChunkId, Chunks, Place, StateMapError,
    chunks::{load, load_child},
    error::Wanted,
    row::{Child, Row},
};

/// The child of a branch in that row.
pub(super) fn load_row<C: Chunks + ?Sized>(chunks: &C, branch: &Chunk, row: usize) -> Result<Chunk, StateMapError> {
    load_child(chunks, branch.level().saturating_sub(1), branch.place(row), &Child::read(branch, row))
}

pub(super) fn get<C: Chunks + ?Sized>(
    chunks: &C,
    root: ChunkId,
    place: Place,
) -> Result<Option<EventSn>, StateMapError> {
    if root == ChunkId::EMPTY {
        return Ok(None);
    }
    let mut chunk = load(chunks, root)?;
    while chunk.level() > 0 {
        let Some(row) = chunk.rows_up_to(place).checked_sub(1) else { return Ok(None) };
        chunk = load_row(chunks, &chunk, row)?;
    }
    Ok(chunk.event(place))
}

pub(super) fn get_many<C: Chunks + ?Sized>(
    chunks: &C,
    root: ChunkId,
    places: &[Place],
) -> Result<Vec<Option<EventSn>>, StateMapError> {
    let mut events = vec![None; places.len()];
    if root == ChunkId::EMPTY || places.is_empty() {
        return Ok(events);
    }
    let mut sorted: Vec<(Place, &mut Option<EventSn>)> = places.iter().copied().zip(&mut events).collect();
    sorted.sort_unstable_by_key(|(place, _)| *place);
    let mut level = vec![(load(chunks, root)?, 0..sorted.len())];
    while level.first().is_some_and(|(chunk, _)| chunk.level() > 0) {
        let mut below = Vec::new();
        let mut wanted = Wanted::default();
        for (branch, range) in &level {
            for (row, range) in rows_of(branch, &sorted, range.clone()) {
                below.extend(wanted.note(load_row(chunks, branch, row))?.map(|chunk| (chunk, range)));
            }
        }
        wanted.finish()?;
        level = below;
    }
    for (leaf, range) in level {
        for (place, event) in sorted.get_mut(range).unwrap_or_default() {
            **event = leaf.event(*place);
        }
    }
    Ok(events)
}

/// The rows of a branch in which the places of `range` are, each with its part of the range.
fn rows_of<T>(branch: &Chunk, sorted: &[(Place, T)], range: Range<usize>) -> Vec<(usize, Range<usize>)> {
    let mut rows = Vec::new();
    let mut start = range.start;
    while start < range.end
        && let Some((place, _)) = sorted.get(start)
    {
        let next_row = branch.rows_up_to(*place);
        let end = if next_row < branch.rows() {
            let next_place = branch.place(next_row);
            let rest = sorted.get(start..range.end).unwrap_or_default();
            start + rest.partition_point(|(place, _)| *place < next_place)
        } else {
            range.end
        };
        rows.extend(next_row.checked_sub(1).map(|row| (row, start..end)));
        start = end;
    }
    rows
}

/// The entries from `first` to `last`, both included.
pub(super) fn range<C: Chunks + ?Sized>(
    chunks: &C,
    root: ChunkId,
    first: Place,
    last: Place,
) -> Result<Entries, StateMapError> {
    let mut level = Vec::new();
    if root != ChunkId::EMPTY {
        level.push(load(chunks, root)?);
    }
    while level.first().is_some_and(|chunk| chunk.level() > 0) {
        let mut below = Vec::new();
        let mut wanted = Wanted::default();
        for branch in &level {
            for row in branch.rows_up_to(first).saturating_sub(1)..branch.rows_up_to(last) {
                below.extend(wanted.note(load_row(chunks, branch, row))?);
            }
        }
        wanted.finish()?;
        level = below;
    }
    Ok(Entries { leaves: level.into_iter(), leaf: None, rows: 0..0, first, last })
}

/// Entries of a map in order. It holds the leaves that they are in, and unpacks each when its turn comes.
#[derive(Debug, Clone)]
pub struct Entries {
    leaves: std::vec::IntoIter<Chunk>,
    leaf: Option<Chunk>,
    rows: Range<usize>,
    first: Place,
    last: Place,
}

impl Iterator for Entries {
    type Item = (Place, EventSn);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(leaf) = &self.leaf
                && let Some(row) = self.rows.next()
            {
                return Some((leaf.place(row), EventSn::read(leaf, row)));
            }
            let leaf = self.leaves.next()?;
            self.rows = leaf.rows_before(self.first)..leaf.rows_up_to(self.last);
            self.leaf = Some(leaf);
        }
    }
}
