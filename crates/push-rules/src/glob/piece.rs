//! The parts of a pattern between its stars.

use std::borrow::Cow;

use memchr::memmem::Finder;

use super::automaton::{Automaton, Progress};

/// A substring search starts again so often after occurrences that were not at word boundaries. After that an
/// automaton goes on, which reads each character once where the search could read overlapping occurrences again and again.
const MAX_SEARCHES: usize = 16;

/// A part of a pattern without `*`, in one case.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// Without `?` either.
    Literal(Finder<'static>),
    /// With `?`, which is `None`.
    Mixed {
        units: Box<[Option<char>]>,
        automaton: Automaton,
        /// The longest part without `?`, without which the piece cannot be there.
        literal: Finder<'static>,
    },
}

impl Piece {
    pub(super) fn new(text: &str) -> Self {
        if !text.contains('?') {
            return Self::literal(text);
        }
        let units: Box<[Option<char>]> = text.chars().map(|unit| (unit != '?').then_some(unit)).collect();
        let automaton = Automaton::new(&units);
        let literal = text.split('?').max_by_key(|part| part.len()).unwrap_or_default();
        Self::Mixed { units, automaton, literal: Finder::new(literal).into_owned() }
    }

    pub(super) fn literal(text: &str) -> Self {
        Self::Literal(Finder::new(text).into_owned())
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Literal(finder) if finder.needle().is_empty())
    }

    /// The end of the piece if it starts at `start`. An empty piece is not compared: its dangling pointer makes a masked load of
    /// vectors cost a hundred nanoseconds.
    pub(super) fn end_at(&self, text: &str, start: usize) -> Option<usize> {
        let rest = text.get(start..)?;
        match self {
            Self::Literal(finder) => {
                let needle = finder.needle();
                (needle.is_empty() || rest.as_bytes().starts_with(needle)).then_some(start + needle.len())
            }
            Self::Mixed { units, .. } => {
                let mut characters = rest.chars();
                let fits = units.iter().all(|unit| characters.next().is_some_and(|next| fits(*unit, next)));
                fits.then(|| text.len() - characters.as_str().len())
            }
        }
    }

    /// Whether the text ends with the piece, at or after `from`.
    pub(super) fn is_suffix(&self, text: &str, from: usize) -> bool {
        let Some(rest) = text.get(from..) else { return false };
        match self {
            Self::Literal(finder) => finder.needle().is_empty() || rest.as_bytes().ends_with(finder.needle()),
            Self::Mixed { units, .. } => {
                let mut characters = rest.chars().rev();
                units.iter().rev().all(|unit| characters.next().is_some_and(|next| fits(*unit, next)))
            }
        }
    }

    /// The end of the leftmost occurrence at or after `from`.
    pub(super) fn first_end(&self, text: &str, from: usize) -> Option<usize> {
        match self {
            Self::Literal(finder) => {
                let at = finder.find(text.as_bytes().get(from..)?)?;
                Some(from + at + finder.needle().len())
            }
            Self::Mixed { .. } => self.occurrences(text, from).next().map(|(_, end)| end),
        }
    }

    /// The occurrences at or after `from`, from left to right, as pairs of start and end. They may overlap.
    pub(super) fn occurrences<'t>(&'t self, text: &'t str, from: usize) -> Occurrences<'t> {
        let search = match self {
            Self::Literal(finder) => Search::Substring { finder, from, searches: 0 },
            Self::Mixed { automaton, literal, .. } => {
                let rest = text.as_bytes().get(from..).unwrap_or_default();
                match literal.find(rest) {
                    Some(_) => Search::reading(Cow::Borrowed(automaton), from),
                    None => Search::Over,
                }
            }
        };
        Occurrences { text, search }
    }
}

fn fits(unit: Option<char>, character: char) -> bool {
    unit.is_none_or(|unit| unit == character)
}

/// The occurrences of a [`Piece`].
pub(super) struct Occurrences<'t> {
    text: &'t str,
    search: Search<'t>,
}

enum Search<'t> {
    Substring { finder: &'t Finder<'static>, from: usize, searches: usize },
    Reading { automaton: Cow<'t, Automaton>, progress: Progress },
    Over,
}

impl<'t> Search<'t> {
    fn reading(automaton: Cow<'t, Automaton>, from: usize) -> Self {
        let progress = automaton.start(from);
        Self::Reading { automaton, progress }
    }
}

impl Iterator for Occurrences<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        if let Search::Substring { finder, from, searches: MAX_SEARCHES } = &self.search {
            let needle = str::from_utf8(finder.needle()).unwrap_or_default();
            let units: Box<[Option<char>]> = needle.chars().map(Some).collect();
            self.search = Search::reading(Cow::Owned(Automaton::new(&units)), *from);
        }
        match &mut self.search {
            Search::Substring { finder, from, searches } => {
                let rest = self.text.as_bytes().get(*from..)?;
                let start = *from + finder.find(rest)?;
                let first = self.text.get(start..).and_then(|text| text.chars().next());
                *from = start + first.map_or(1, char::len_utf8);
                *searches += 1;
                Some((start, start + finder.needle().len()))
            }
            Search::Reading { automaton, progress } => automaton.next(progress, self.text),
            Search::Over => None,
        }
    }
}
