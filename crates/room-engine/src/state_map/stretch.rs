//! Which chunks of a level have to be cut anew.

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
}

/// The chunks in which the changes are. Where only rows are set that were there before, that is all; where rows come or
/// go, it is all that lies between the landmarks around them.
pub(super) fn stretches<C: Chunks + ?Sized, R: Row>(
    tree: &Tree<'_, C>,
    level: u8,
    changes: &[Change<R>],
) -> Result<Vec<Stretch>, StateMapError> {
    let touched = touched(tree, level, changes)?;
    let mut located: Vec<VecDeque<Located>> = Vec::with_capacity(touched.len());
    let mut wanted = Wanted::default();
    for chunk in touched {
        if located.last().and_then(VecDeque::back).is_some_and(|last| last.place() >= chunk.located.place()) {
            continue;
        }
        if !chunk.moves_rows {
            located.push(VecDeque::from([chunk.located]));
        } else if let Some(stretch) = wanted.note(between_landmarks(tree, level, chunk.located, changes))? {
            let first = stretch.front().map(Located::place);
            while located.last().is_some_and(|last| last.front().map(Located::place) >= first) {
                located.pop();
            }
            located.push(stretch);
        }
    }
    let mut stretches = Vec::with_capacity(located.len());
    let mut start = 0;
    for stretch in located {
        let next = stretch.back().and_then(|last| last.next);
        let end = next.map_or(changes.len(), |next| changes.partition_point(|(place, _)| *place < next));
        let mut chunks = Vec::with_capacity(stretch.len());
        for chunk in &stretch {
            chunks.extend(wanted.note(tree.load(chunk))?);
        }
        stretches.push(Stretch { chunks, changes: start..end });
        start = end;
    }
    wanted.finish()?;
    Ok(stretches)
}

/// A chunk that has changes.
struct Touched {
    located: Located,
    /// Whether rows come or go.
    moves_rows: bool,
}

fn touched<C: Chunks + ?Sized, R: Row>(
    tree: &Tree<'_, C>,
    level: u8,
    changes: &[Change<R>],
) -> Result<Vec<Touched>, StateMapError> {
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
            touched.push(Touched { located, moves_rows });
        }
    }
    wanted.finish()?;
    Ok(touched)
}

/// The chunks from the landmark at or before a chunk to the next one behind it; landmarks that the changes remove are none.
fn between_landmarks<C: Chunks + ?Sized, R>(
    tree: &Tree<'_, C>,
    level: u8,
    located: Located,
    changes: &[Change<R>],
) -> Result<VecDeque<Located>, StateMapError> {
    let mut next = located.next;
    let mut place = located.place();
    let mut stretch = VecDeque::from([located]);
    while let Some(place) = next
        && !is_landmark(place, level)
    {
        let located = tree.locate(level, place)?;
        next = located.next;
        stretch.push_back(located);
    }
    let is_removed = |place: Place| {
        let change = changes.binary_search_by_key(&place, |(place, _)| *place);
        change.is_ok_and(|change| changes.get(change).is_some_and(|(_, row)| row.is_none()))
    };
    while !is_landmark(place, level) || is_removed(place) {
        let Some(located) = tree.locate_before(level, place)? else { break };
        place = located.place();
        stretch.push_front(located);
    }
    Ok(stretch)
}
