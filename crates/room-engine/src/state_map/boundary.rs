//! Where one chunk ends and the next begins: a function of the places alone.
//!
//! On each level lie rows in the order of their places: entries on level 0, and above it one row for each chunk of the
//! level below, at the place of that chunk's first row. When all rows of a level fit into one chunk, that chunk is the
//! root. Otherwise a chunk begins
//!
//! 1. at every *landmark*: a place whose scattered number is small enough for the level, so that the rows around it do
//!    not matter;
//! 2. and inside of a stretch between two landmarks that is too long for one chunk, at the row with the smallest
//!    scattered number in the middle half of the stretch; and so on for each of the two parts.
//!
//! The second rule bounds chunks from both sides, whatever places somebody manages to get into a room, and keeps the
//! first rule's long tail short. A row more or less moves the borders of the stretch that it is in only rarely, and
//! never those of another one.

use std::ops::Range;

use super::Place;

/// The highest level there can be. A map that needs it has more entries than all rooms of the world together.
pub(super) const MAX_LEVEL: u8 = 7;

/// Levels above this one have no landmarks, so that each has at most a fraction of the rows of the one below, for all
/// places that there can be.
const MAX_LANDMARK_LEVEL: u8 = 3;

/// The most rows of a chunk on a level. It must not be smaller than on the level below.
pub(super) const fn max_rows(level: u8) -> usize {
    match level {
        0 => 128,
        1 => 128,
        MAX_LEVEL.. => usize::MAX,
        _ => 256,
    }
}

/// Whether a chunk of that level begins at `place` in every map that has the place.
pub(super) const fn is_landmark(place: Place, level: u8) -> bool {
    let zero_bits = match level {
        0 => 7,
        1 => 11,
        2 => 17,
        _ => 23,
    };
    level <= MAX_LANDMARK_LEVEL && place.scattered().leading_zeros() >= zero_bits
}

/// Cuts rows of a level, which begin where a chunk begins, into those of each chunk.
pub(super) fn cut<T>(rows: &[(Place, T)], level: u8) -> Vec<Range<usize>> {
    let mut chunks = Vec::with_capacity(1 + rows.len() / (max_rows(level) / 4));
    let mut start = 0;
    for (row, (place, _)) in rows.iter().enumerate().skip(1) {
        if is_landmark(*place, level) {
            cut_stretch(rows, start..row, level, &mut chunks);
            start = row;
        }
    }
    if start < rows.len() {
        cut_stretch(rows, start..rows.len(), level, &mut chunks);
    }
    chunks
}

fn cut_stretch<T>(rows: &[(Place, T)], stretch: Range<usize>, level: u8, chunks: &mut Vec<Range<usize>>) {
    if stretch.len() <= max_rows(level) {
        chunks.push(stretch);
        return;
    }
    let quarter = stretch.len() / 4;
    let middle = stretch.start + quarter..stretch.end - quarter;
    let candidates = rows.get(middle.clone()).unwrap_or_default();
    let lowest = candidates.iter().enumerate().min_by_key(|(_, (place, _))| place.scattered());
    let border = middle.start + lowest.map_or(0, |(offset, _)| offset);
    cut_stretch(rows, stretch.start..border, level, chunks);
    cut_stretch(rows, border..stretch.end, level, chunks);
}
