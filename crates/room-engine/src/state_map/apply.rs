//! Changing a map: from the leaves upwards, on each level only the chunks that the changes are in.
//!
//! Every level is a sorted map itself, from places to entries or to children. Changing a level gives new chunks and the
//! changes of the level above: chunks that are no longer there, chunks that are new, chunks that are others now.

use std::{iter, ops::Range};

use homeserver_core::EventSn;

use super::{
    Chunk, ChunkId, Chunks, Place, StateMapError,
    boundary::{cut, max_rows},
    chunks::{load, load_child},
    error::Wanted,
    row::{Child, Row, all_rows},
    stretch::{Stretch, stretches},
    tree::Tree,
};

/// A row to set, or to remove.
pub(super) type Change<R> = (Place, Option<R>);

/// The root after `changes`, and the chunks that the map of `root` did not have.
pub(super) fn apply<C: Chunks + ?Sized>(
    chunks: &C,
    root: ChunkId,
    changes: &[Change<EventSn>],
) -> Result<(ChunkId, Vec<Chunk>), StateMapError> {
    if !changes.is_sorted_by(|(before, _), (after, _)| before < after) {
        return Err(StateMapError::Unsorted);
    }
    let mut new = New::default();
    if root == ChunkId::EMPTY {
        let rows: Vec<(Place, EventSn)> =
            changes.iter().filter_map(|(place, event)| Some((*place, (*event)?))).collect();
        return Ok((new.raise(0, &rows), new.chunks));
    }
    let tree = Tree { chunks, root: load(chunks, root)? };
    let root = match tree.root.level().checked_sub(1) {
        None => new.raise(0, &merged(tree.root.iter(), changes)),
        Some(below) => {
            let mut changes = change_level(&tree, 0, changes, &mut new)?;
            for level in 1..=below {
                changes = change_level(&tree, level, &changes, &mut new)?;
            }
            if let Some(root) = Child::replaced(&tree.root, &changes) {
                new.chunks.push(root.clone());
                root.id()
            } else {
                new.settle(chunks, below, &merged(tree.root.iter(), &changes))?
            }
        }
    };
    new.known.push(tree.root.id());
    new.known.sort_unstable();
    new.chunks.retain(|chunk| new.known.binary_search(&chunk.id()).is_err());
    Ok((root, new.chunks))
}

/// Changes a level below the root; the changes of the level above.
fn change_level<C: Chunks + ?Sized, R: Row>(
    tree: &Tree<'_, C>,
    level: u8,
    changes: &[Change<R>],
    new: &mut New,
) -> Result<Vec<Change<Child>>, StateMapError> {
    let mut above = Vec::new();
    for stretch in stretches(tree, level, changes)? {
        let changes = changes.get(stretch.changes.clone()).unwrap_or_default();
        if let [chunk] = stretch.chunks.as_slice()
            && let Some(replaced) = R::replaced(chunk, changes)
        {
            above.push((chunk.place(0), Some(Child::of(&replaced))));
            new.known.push(chunk.id());
            new.chunks.push(replaced);
            continue;
        }
        let rows = merged(stretch.chunks.iter().flat_map(Chunk::iter), changes);
        rewrite(&stretch, level, &rows, changes, new, &mut above);
    }
    Ok(above)
}

/// Makes the chunks of `rows`, which are now in the place of the chunks of the stretch.
fn rewrite<R: Row>(
    stretch: &Stretch,
    level: u8,
    rows: &[(Place, R)],
    changes: &[Change<R>],
    new: &mut New,
    above: &mut Vec<Change<Child>>,
) {
    let mut old = stretch.chunks.iter().peekable();
    let ranges = if stretch.moves_rows { cut(rows, level) } else { iter::once(0..rows.len()).collect() };
    for range in ranges {
        let rows = rows.get(range).unwrap_or_default();
        let Some((place, _)) = rows.first() else { continue };
        while let Some(gone) = old.next_if(|chunk| chunk.place(0) < *place) {
            above.push((gone.place(0), None));
        }
        let before = old.next_if(|chunk| chunk.place(0) == *place);
        if before.is_some_and(|before| before.rows() == rows.len() && !touches(rows, changes)) {
            continue;
        }
        let chunk = chunk_of(level, rows);
        if before.is_none_or(|before| before.id() != chunk.id()) {
            above.push((*place, Some(Child::of(&chunk))));
            new.chunks.push(chunk);
        }
    }
    above.extend(old.map(|gone| (gone.place(0), None)));
    new.known.extend(stretch.chunks.iter().map(Chunk::id));
}

/// Whether one of the changes is between the first and the last of the rows.
fn touches<R>(rows: &[(Place, R)], changes: &[Change<R>]) -> bool {
    let (Some((first, _)), Some((last, _))) = (rows.first(), rows.last()) else { return false };
    let next = changes.partition_point(|(place, _)| place < first);
    changes.get(next).is_some_and(|(place, _)| place <= last)
}

/// The rows once the changes are made.
fn merged<R: Row>(rows: impl Iterator<Item = (Place, R)>, changes: &[Change<R>]) -> Vec<(Place, R)> {
    let mut merged = Vec::with_capacity(rows.size_hint().0 + changes.len());
    let mut changes = changes.iter().peekable();
    for (place, row) in rows {
        while let Some((place, change)) = changes.next_if(|change| change.0 < place) {
            merged.extend(change.map(|row| (*place, row)));
        }
        match changes.next_if(|change| change.0 == place) {
            Some((_, change)) => merged.extend(change.map(|row| (place, row))),
            None => merged.push((place, row)),
        }
    }
    merged.extend(changes.filter_map(|(place, change)| Some((*place, (*change)?))));
    merged
}

/// What an operation has made so far.
#[derive(Debug, Default)]
struct New {
    chunks: Vec<Chunk>,
    /// Chunks that the map had before, among those that were read.
    known: Vec<ChunkId>,
}

impl New {
    /// Makes the chunks of a whole level, and of those above it; the root.
    fn raise<R: Row>(&mut self, level: u8, rows: &[(Place, R)]) -> ChunkId {
        if rows.is_empty() {
            return ChunkId::EMPTY;
        }
        if rows.len() <= max_rows(level) {
            return self.add(level, rows).1.id;
        }
        let ranges: Vec<Range<usize>> = cut(rows, level);
        let children: Vec<(Place, Child)> =
            ranges.into_iter().map(|range| self.add(level, rows.get(range).unwrap_or_default())).collect();
        self.raise(level + 1, &children)
    }

    fn add<R: Row>(&mut self, level: u8, rows: &[(Place, R)]) -> (Place, Child) {
        let chunk = chunk_of(level, rows);
        let child = (chunk.place(0), Child::of(&chunk));
        self.chunks.push(chunk);
        child
    }

    /// Makes the chunks of the root's level, which may be too high by now, or not high enough; the root. `rows` are the
    /// chunks of the level `below` it.
    fn settle<C: Chunks + ?Sized>(
        &mut self,
        chunks: &C,
        below: u8,
        rows: &[(Place, Child)],
    ) -> Result<ChunkId, StateMapError> {
        let rows_below = rows.iter().fold(0_u64, |sum, (_, child)| sum.saturating_add(child.rows(below)));
        if rows_below > max_rows(below) as u64 {
            return Ok(self.raise(below + 1, rows));
        }
        let children = self.take(chunks, below, rows)?;
        match below.checked_sub(1) {
            None => Ok(self.raise::<EventSn>(below, &all_rows(&children))),
            Some(lower) => self.settle(chunks, lower, &all_rows(&children)),
        }
    }

    /// The chunks of a level, which are not to be kept.
    fn take<C: Chunks + ?Sized>(
        &mut self,
        chunks: &C,
        level: u8,
        rows: &[(Place, Child)],
    ) -> Result<Vec<Chunk>, StateMapError> {
        let mut wanted = Wanted::default();
        let mut taken = Vec::with_capacity(rows.len());
        for (place, child) in rows {
            if let Some(position) = self.chunks.iter().position(|chunk| chunk.id() == child.id) {
                taken.push(self.chunks.swap_remove(position));
            } else if let Some(chunk) = wanted.note(load_child(chunks, level, *place, child))? {
                self.known.push(child.id);
                taken.push(chunk);
            }
        }
        wanted.finish()?;
        Ok(taken)
    }
}

fn chunk_of<R: Row>(level: u8, rows: &[(Place, R)]) -> Chunk {
    debug_assert!(!rows.is_empty(), "no chunk is empty");
    debug_assert!(rows.is_sorted_by(|(a, _), (b, _)| a < b), "the places of a chunk are in order");
    Chunk::of_rows(level, rows)
}
