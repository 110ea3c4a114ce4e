//! Patterns with `*` and `?`, compiled.
//!
//! A pattern is cut at its stars into *pieces*. The first piece must be at the start of the text, the last one at its end,
//! and the pieces between are searched one after the other, each as far to the left as possible: that leaves the most room for
//! later pieces, so no search is repeated. A piece without `?` is found by a substring search, one with it by an
//! automaton that is a row of bits. Matching is therefore linear in the text, whatever the pattern: a piece of up to 64 characters
//! costs one machine word of work for each character of the text, and [`MAX_PATTERN_BYTES`] bounds the words.
//!
//! This works on text in one case. A text is first compared as it was written, which decides nearly every text without a copy.
//!
//! [`MAX_PATTERN_BYTES`]: crate::MAX_PATTERN_BYTES

mod anchor;
mod automaton;
mod piece;
mod raw;
#[cfg(test)]
mod tests;
mod variants;
mod window;

use crate::{
    fold::fold,
    words::{Body, is_word_byte, longest_word},
};
use piece::Piece;
use raw::Raw;

/// A [glob](https://spec.matrix.org/v1.19/appendices/#glob-style-matching), compiled. It disregards case.
#[derive(Debug, Clone)]
pub struct Glob {
    /// The parts between stars.
    pieces: Box<[Piece]>,
    /// Boxed, because literal patterns have none, and there is one for every member of an active room.
    raw: Option<Box<Raw>>,
    /// The hash of a word that every matching body has.
    word: Option<u64>,
}

impl Glob {
    /// Compiles a pattern.
    pub fn new(pattern: &str) -> Self {
        let folded = fold(pattern);
        let pieces: Box<[Piece]> = folded.split('*').map(Piece::new).collect();
        let is_literal = pieces.len() == 1 && !folded.contains('?');
        Self {
            pieces,
            raw: Some(Box::new(Raw::new(&folded))),
            word: if is_literal { longest_word(&folded) } else { None },
        }
    }

    /// Compiles text in which `*` and `?` are ordinary characters.
    pub fn literal(text: &str) -> Self {
        let folded = fold(text);
        Self { pieces: Box::new([Piece::literal(&folded)]), raw: None, word: longest_word(&folded) }
    }

    /// Whether the pattern matches the whole text.
    pub fn matches(&self, text: &str) -> bool {
        let known = self.raw.as_ref().and_then(|raw| raw.matches(text).ok());
        known.unwrap_or_else(|| self.matches_folded(&fold(text)))
    }

    /// Whether the pattern matches some part of the text that starts and ends at word boundaries, as is asked of
    /// [`content.body`](https://spec.matrix.org/v1.19/client-server-api/#conditions-1).
    pub fn matches_words(&self, text: &str) -> bool {
        let known = self.raw.as_ref().and_then(|raw| raw.matches_words(text).ok());
        known.unwrap_or_else(|| self.is_in_folded(&fold(text)))
    }

    /// The hash of a word that every matching body has, if there is one.
    pub(crate) const fn word(&self) -> Option<u64> {
        self.word
    }

    /// [`Self::matches`] for text in one case.
    pub(crate) fn matches_folded(&self, text: &str) -> bool {
        let Some((first, rest)) = self.pieces.split_first() else { return false };
        let Some(at) = first.end_at(text, 0) else { return false };
        let Some((last, middle)) = rest.split_last() else { return at == text.len() };
        let Some(at) = Self::after_all(middle, text, at) else { return false };
        last.is_suffix(text, at)
    }

    /// [`Self::matches_words`] for a body that is prepared.
    pub(crate) fn is_in(&self, body: &Body<'_>) -> bool {
        self.word.is_none_or(|word| body.has_word(word)) && self.is_in_folded(body.text())
    }

    fn is_in_folded(&self, text: &str) -> bool {
        let Some((first, rest)) = self.pieces.split_first() else { return false };
        let starts = |start: usize| start == 0 || is_boundary(text, start);
        let ends = |end: usize| end == text.len() || is_boundary(text, end);
        let Some((last, middle)) = rest.split_last() else {
            if first.is_empty() {
                return text.is_empty();
            }
            return first.occurrences(text, 0).any(|(start, end)| starts(start) && ends(end));
        };
        let at = if first.is_empty() {
            Some(0)
        } else {
            first.occurrences(text, 0).find(|(start, _)| starts(*start)).map(|(_, end)| end)
        };
        let Some(at) = at.and_then(|at| Self::after_all(middle, text, at)) else { return false };
        last.is_empty() || last.occurrences(text, at).any(|(_, end)| ends(end))
    }

    /// The end of the last piece, each found as far to the left as possible.
    fn after_all(pieces: &[Piece], text: &str, from: usize) -> Option<usize> {
        pieces.iter().try_fold(from, |at, piece| piece.first_end(text, at))
    }
}

/// Whether an offset inside of the text is between two words.
fn is_boundary(text: &str, offset: usize) -> bool {
    let is_word = |offset: usize| text.as_bytes().get(offset).is_some_and(|byte| is_word_byte(*byte));
    !(is_word(offset.wrapping_sub(1)) && is_word(offset))
}
