//! A pattern that is compared with text in any case.
//!
//! Nothing of the text is copied. Each piece is looked for by one of its characters, in all cases that this has, and compared
//! where it is found. The length of the text bounds the comparisons that fail. Beyond that the text is brought into one
//! case and read once.

use super::anchor::Anchor;
use super::window::Window;
use crate::fold::fold_char;
use crate::words::is_word_char;

/// The text must be brought into one case to decide whether it matches.
#[derive(Debug)]
pub(super) struct Undecided;

/// The pieces of a pattern.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    first: Piece,
    /// Without empty ones.
    middle: Box<[Piece]>,
    /// None without a star.
    last: Option<Piece>,
    min_bytes: usize,
    max_bytes: usize,
}

/// The part of a pattern between two stars.
#[derive(Debug, Clone)]
struct Piece {
    /// In one case; `?` is `None`.
    units: Box<[Option<char>]>,
    window: Option<Window>,
    anchor: Option<Anchor>,
}

/// The number of units that may still be compared.
struct Effort(usize);

/// The comparisons that are allowed in addition to two units for each byte of the text.
const LEAST_EFFORT: usize = 256;

impl Raw {
    /// Of a pattern in one case.
    pub(super) fn new(folded: &str) -> Self {
        let mut pieces = folded.split('*').map(Piece::new);
        let first = pieces.next().unwrap_or_else(|| Piece::new(""));
        let last = pieces.next_back();
        let middle: Box<[Piece]> = pieces.filter(|piece| !piece.is_empty()).collect();
        let all = || [&first].into_iter().chain(&middle).chain(&last).flat_map(|piece| &piece.units);
        let min_bytes = all().count();
        let max_bytes = if last.is_some() { usize::MAX } else { all().map(|unit| max_bytes(*unit)).sum() };
        Self { first, middle, last, min_bytes, max_bytes }
    }

    /// Whether the pattern matches the whole text.
    pub(super) fn matches(&self, text: &str) -> Result<bool, Undecided> {
        if text.len() < self.min_bytes || text.len() > self.max_bytes {
            return Ok(false);
        }
        let Some(at) = self.first.end_at_start(text) else { return Ok(false) };
        let Some(last) = &self.last else { return Ok(at == text.len()) };
        let Some(end) = text.get(at..).and_then(|rest| last.start_at_end(rest)) else { return Ok(false) };
        if self.middle.is_empty() {
            return Ok(true);
        }
        let between = text.get(..at + end).unwrap_or_default();
        Ok(self.after_middle(between, at, &mut Effort::of(text))?.is_some())
    }

    /// Whether the pattern matches some part of the text that starts and ends at word boundaries.
    pub(super) fn matches_words(&self, text: &str) -> Result<bool, Undecided> {
        let mut effort = Effort::of(text);
        let Some(last) = &self.last else {
            if self.first.is_empty() {
                return Ok(text.is_empty());
            }
            let is_word = |start, end| is_boundary(text, start) && is_boundary(text, end);
            return Ok(self.first.find_where(text, 0, &mut effort, is_word)?.is_some());
        };
        let mut at = Some(0);
        if !self.first.is_empty() {
            at = self.first.find_where(text, 0, &mut effort, |start, _| is_boundary(text, start))?;
        }
        let Some(at) = at else { return Ok(false) };
        let Some(at) = self.after_middle(text, at, &mut effort)? else { return Ok(false) };
        Ok(last.is_empty() || last.find_where(text, at, &mut effort, |_, end| is_boundary(text, end))?.is_some())
    }

    /// The end of the last middle piece, each found as far to the left as possible.
    fn after_middle(&self, text: &str, from: usize, effort: &mut Effort) -> Result<Option<usize>, Undecided> {
        let mut at = from;
        for piece in &self.middle {
            let Some((_, end)) = piece.find(text, at, effort)? else { return Ok(None) };
            at = end;
        }
        Ok(Some(at))
    }
}

impl Piece {
    fn new(text: &str) -> Self {
        let units: Box<[Option<char>]> = text.chars().map(|unit| (unit != '?').then_some(unit)).collect();
        Self { window: Window::new(&units), anchor: Anchor::new(&units), units }
    }

    fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Where the piece ends if the text starts with it.
    #[inline]
    fn end_at_start(&self, text: &str) -> Option<usize> {
        if self.is_empty() {
            return Some(0);
        }
        if let Some(window) = &self.window
            && let Some(bytes) = text.as_bytes().get(..window.length())
            && let Some(fits) = window.fits(bytes)
        {
            return fits.then_some(window.length());
        }
        let mut characters = text.chars();
        let fits = self.units.iter().all(|unit| characters.next().is_some_and(|next| fits(*unit, next)));
        fits.then(|| text.len() - characters.as_str().len())
    }

    /// Where the piece starts if the text ends with it.
    #[inline]
    fn start_at_end(&self, text: &str) -> Option<usize> {
        if self.is_empty() {
            return Some(text.len());
        }
        if let Some(window) = &self.window
            && let Some(start) = text.len().checked_sub(window.length())
            && let Some(fits) = text.as_bytes().get(start..).and_then(|bytes| window.fits(bytes))
        {
            return fits.then_some(start);
        }
        let mut characters = text.chars();
        let fits = self.units.iter().rev().all(|unit| characters.next_back().is_some_and(|next| fits(*unit, next)));
        fits.then_some(characters.as_str().len())
    }

    /// The leftmost occurrence at or after `from` that is `wanted`, by its start and end.
    fn find_where(
        &self,
        text: &str,
        mut from: usize,
        effort: &mut Effort,
        wanted: impl Fn(usize, usize) -> bool,
    ) -> Result<Option<usize>, Undecided> {
        while let Some((start, end)) = self.find(text, from, effort)? {
            if wanted(start, end) {
                return Ok(Some(end));
            }
            effort.spend(1)?;
            from = text.ceil_char_boundary(start + 1);
        }
        Ok(None)
    }

    /// The leftmost occurrence at or after `from`: where it starts and where it ends.
    #[inline]
    fn find(&self, text: &str, from: usize, effort: &mut Effort) -> Result<Option<(usize, usize)>, Undecided> {
        let Some(anchor) = &self.anchor else { return self.find_anything(text, from) };
        let bytes = text.as_bytes();
        // Each unit takes a byte at least.
        let mut search_from = from + anchor.place;
        while let Some(found) = bytes.get(search_from..).and_then(|rest| anchor.find(rest)) {
            let at = search_from + found;
            search_from = at + 1;
            let Some(window) = &self.window else {
                match self.around(anchor, text, from, at, effort)? {
                    None => continue,
                    occurrence => return Ok(occurrence),
                }
            };
            let start = at - anchor.place;
            let end = start + window.length();
            // Without as many bytes there are not as many characters.
            let Some(bytes) = bytes.get(start..end) else { return Ok(None) };
            match window.fits(bytes) {
                Some(true) => return Ok(Some((start, end))),
                Some(false) => effort.spend(1 + window.length() / 8)?,
                None => {
                    if let Some(occurrence) = self.around(anchor, text, from, at, effort)? {
                        return Ok(Some(occurrence));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The occurrence whose anchor ends with the byte at `at`.
    #[inline(never)]
    fn around(
        &self,
        anchor: &Anchor,
        text: &str,
        from: usize,
        at: usize,
        effort: &mut Effort,
    ) -> Result<Option<(usize, usize)>, Undecided> {
        effort.spend(self.units.len())?;
        let (Some(before), Some(after)) = (text.get(from..=at), text.get(at + 1..)) else { return Ok(None) };
        let Some((to_anchor, behind)) = self.units.split_at_checked(anchor.place + 1) else { return Ok(None) };
        let (mut before, mut after) = (before.chars(), after.chars());
        let fits = to_anchor.iter().rev().all(|unit| before.next_back().is_some_and(|next| fits(*unit, next)))
            && behind.iter().all(|unit| after.next().is_some_and(|next| fits(*unit, next)));
        Ok(fits.then(|| (from + before.as_str().len(), text.len() - after.as_str().len())))
    }

    /// As [`Self::find`], for a piece without an anchor.
    fn find_anything(&self, text: &str, from: usize) -> Result<Option<(usize, usize)>, Undecided> {
        if self.units.iter().any(Option::is_some) {
            return Err(Undecided);
        }
        let Some(rest) = text.get(from..) else { return Ok(None) };
        let mut characters = rest.chars();
        let is_there = self.units.iter().all(|_| characters.next().is_some());
        Ok(is_there.then(|| (from, text.len() - characters.as_str().len())))
    }
}

impl Effort {
    const fn of(text: &str) -> Self {
        Self(LEAST_EFFORT + 2 * text.len())
    }

    fn spend(&mut self, units: usize) -> Result<(), Undecided> {
        self.0 = self.0.checked_sub(units).ok_or(Undecided)?;
        Ok(())
    }
}

/// Whether a unit fits a character of the text, in any case.
fn fits(unit: Option<char>, character: char) -> bool {
    unit.is_none_or(|unit| unit == character || unit == fold_char(character))
}

/// The most bytes of a character that a unit fits.
const fn max_bytes(unit: Option<char>) -> usize {
    match unit {
        // The others of ASCII are as long in both cases.
        Some('i' | 's') => 2,
        Some('k') => 3,
        Some('\0'..='\x7f') => 1,
        _ => 4,
    }
}

/// Whether an offset is between two words.
fn is_boundary(text: &str, offset: usize) -> bool {
    let (before, after) = text.split_at_checked(offset).unwrap_or((text, ""));
    !(before.chars().next_back().is_some_and(is_word_char) && after.chars().next().is_some_and(is_word_char))
}
