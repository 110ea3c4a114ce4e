//! The words of a message.

use std::{borrow::Cow, hash::Hasher};

use rustc_hash::FxHasher;

use crate::fold::fold;

/// Whether a byte of text in one case belongs to a word: `[A-Za-z0-9_]`, everything else is between words.
pub(crate) const fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether a character of text in any case belongs to a word when the text is brought into one case.
pub(crate) const fn is_word_char(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | 'ı' | 'ſ' | '\u{212a}')
}

/// The body of a message, prepared for looking for many patterns: in one case, with an index of its words.
#[derive(Debug)]
pub(crate) struct Body<'t> {
    text: Cow<'t, str>,
    /// Hashes of the words, sorted, each once.
    words: Vec<u64>,
    /// A bit for each word, by which most words that are not there are known not to be.
    filter: [u64; 4],
}

impl<'t> Body<'t> {
    pub(crate) fn new(text: Cow<'t, str>) -> Self {
        let text = match fold(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(folded) => Cow::Owned(folded),
        };
        let mut words: Vec<u64> = words(&text).map(hash).collect();
        words.sort_unstable();
        words.dedup();
        let mut filter = [0; 4];
        for word in &words {
            let (row, bit) = filter_place(*word);
            if let Some(row) = filter.get_mut(row) {
                *row |= bit;
            }
        }
        Self { text, words, filter }
    }

    /// The text, in one case.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The hashes of its words, each once.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(crate) fn has_word(&self, word: u64) -> bool {
        let (row, bit) = filter_place(word);
        self.filter.get(row).is_some_and(|row| row & bit != 0) && self.words.binary_search(&word).is_ok()
    }
}

const fn filter_place(word: u64) -> (usize, u64) {
    (((word >> 62) & 3) as usize, 1 << ((word >> 56) & 63))
}

fn words(text: &str) -> impl Iterator<Item = &[u8]> {
    text.as_bytes().split(|byte| !is_word_byte(*byte)).filter(|word| !word.is_empty())
}

/// The hash of the longest word of text without wildcards. Where the text is found at word boundaries, each of its words
/// is a whole word there as well.
pub(crate) fn longest_word(text: &str) -> Option<u64> {
    words(text).max_by_key(|word| word.len()).map(hash)
}

fn hash(word: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(word);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::fold_char;

    #[test]
    fn a_character_belongs_to_a_word_in_whatever_case_it_is() {
        for character in '\0'..=char::MAX {
            let folded = fold_char(character);
            let expected = folded.try_into().is_ok_and(is_word_byte);
            assert_eq!(is_word_char(character), expected, "{character:?}");
        }
    }
}
