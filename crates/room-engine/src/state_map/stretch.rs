//! The chunks of a level that a change cuts again.

use std::{collections::VecDeque, ops::Range};

use super::{
    Chunk, Chunks, Place, StateMapError,
    apply::Change,
    boundary::is_landmark,
    error::Wanted,
    row::Row,
    tree::{Located, Tree},
};

/// Neighbouring chunks of a level whose rows are cut together, and the changes in them.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) chunks: Vec<Chunk>,
    pub(super) changes: Range<usize>,
    /// Whether rows come or go.
    pub(super) moves_rows: bool,
}

/// The chunks in which the changes are. Where only rows are set that were there before, that is all; where rows come or
/// go, it is all that lies between the landmarks around them.
pub(super) fn stretches<C: Chunks + ?Sized, R: Row>(
    tree: &Tree<'_, C>,
    level: u8,
    changes: &[Change<R>],
) -> Result<Vec<Stretch>, StateMapError> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut wanted = Wanted::default();
    for chunk in touched(tree, level, changes)? {
        if candidates.last().is_some_and(|last| last.last_place() >= chunk.last_place()) {
            continue;
        }
        if !chunk.moves_rows {
            candidates.push(chunk);
        } else if let Some(stretch) = wanted.note(between_landmarks(tree, level, chunk, changes, &mut candidates))? {
            candidates.push(stretch);
        }
    }
    let mut stretches = Vec::with_capacity(candidates.len());
    let mut start = 0;
    for candidate in candidates {
        let next = candidate.next_place();
        let end = next.map_or(changes.len(), |next| changes.partition_point(|(place, _)| *place < next));
        let mut chunks = Vec::with_capacity(candidate.chunks.len());
        for located in &candidate.chunks {
            chunks.extend(wanted.note(tree.load(located))?);
        }
        stretches.push(Stretch { chunks, changes: start..end, moves_rows: candidate.moves_rows });
        start = end;
    }
    wanted.finish()?;
    Ok(stretches)
}

/// Neighbouring chunks that may be a stretch.
#[derive(Debug)]
struct Candidate {
    chunks: VecDeque<Located>,
    moves_rows: bool,
}

impl Candidate {
    fn first_place(&self) -> Option<Place> {
        self.chunks.front().map(Located::place)
    }

    fn last_place(&self) -> Option<Place> {
        self.chunks.back().map(Located::place)
    }

    /// The first place behind these chunks.
    fn next_place(&self) -> Option<Place> {
        self.chunks.back()?.next
    }
}

/// Each chunk that has changes.
fn touched<C: Chunks + ?Sized, R: Row>(
    tree: &Tree<'_, C>,
    level: u8,
    changes: &[Change<R>],
) -> Result<Vec<Candidate>, StateMapError> {
    let mut touched = Vec::new();
    let mut wanted = Wanted::default();
    let mut rest = changes;
    while let Some((place, _)) = rest.first() {
        let Some(located) = wanted.note(tree.locate(level, *place))? else {
            rest = rest.get(1..).unwrap_or_default();
            continue;
        };
        let inside = located.next.map_or(rest.len(), |next| rest.partition_point(|(place, _)| *place < next));
        let (inside, behind) = rest.split_at_checked(inside).unwrap_or_default();
        rest = behind;
        if let Some(chunk) = wanted.note(tree.load(&located))? {
            let moves_rows = inside.iter().any(|(place, change)| chunk.row_of(*place).is_some() != change.is_some());
            touched.push(Candidate { chunks: VecDeque::from([located]), moves_rows });
        }
    }
    wanted.finish()?;
    Ok(touched)
}

/// The chunks from the landmark at or before a chunk to the next one behind it; landmarks that the changes remove are none.
/// Those of the candidates before it that turn out to be a part of it are taken away from there.
fn between_landmarks<C: Chunks + ?Sized, R>(
    tree: &Tree<'_, C>,
    level: u8,
    mut stretch: Candidate,
    changes: &[Change<R>],
    before: &mut Vec<Candidate>,
) -> Result<Candidate, StateMapError> {
    while let Some(next) = stretch.next_place()
        && !is_landmark(next, level)
    {
        stretch.chunks.push_back(tree.locate(level, next)?);
    }
    let is_removed = |place: Place| {
        let change = changes.binary_search_by_key(&place, |(place, _)| *place);
        change.is_ok_and(|change| changes.get(change).is_some_and(|(_, row)| row.is_none()))
    };
    while let Some(first) = stretch.first_place()
        && (!is_landmark(first, level) || is_removed(first))
    {
        if let Some(mut neighbours) = before.pop_if(|last| last.next_place() == Some(first)) {
            neighbours.chunks.append(&mut stretch.chunks);
            stretch.chunks = neighbours.chunks;
        } else if let Some(neighbour) = tree.locate_before(level, first)? {
            stretch.chunks.push_front(neighbour);
        } else {
            break;
        }
    }
    Ok(stretch)
}
