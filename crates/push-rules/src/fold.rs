//! Comparing text without regard to case.

use std::borrow::Cow;

/// The text with every character in one case, borrowed when it is so already.
///
/// Characters are mapped one to one, which keeps their number, so that `?` in a pattern stands for one character of what was
/// written: `ς` and `Σ` both become `σ`, while `ß` stays what it is. The specification leaves the exact meaning of
/// case-insensitivity to the server.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    // Reads everything, many bytes at once, which takes less time than to stop.
    let (mut all, mut is_changed) = (0, false);
    for byte in text.bytes() {
        all |= byte;
        is_changed |= byte.is_ascii_uppercase();
    }
    match (all < 0x80, is_changed) {
        (true, false) => Cow::Borrowed(text),
        (true, true) => Cow::Owned(text.to_ascii_lowercase()),
        (false, _) => {
            let mut folded = String::with_capacity(text.len());
            folded.extend(text.chars().map(fold_char));
            Cow::Owned(folded)
        }
    }
}

/// A character in one case. Frequent characters need no search in the tables of all letters.
#[inline]
pub(crate) fn fold_char(character: char) -> char {
    if character.is_ascii() { character.to_ascii_lowercase() } else { fold_beyond_ascii(character) }
}

fn fold_beyond_ascii(character: char) -> char {
    match character {
        'À'..='Ö' | 'Ø'..='Þ' | 'А'..='Я' => shifted(character, 'a' as u32 - 'A' as u32),
        'Ѐ'..='Џ' => shifted(character, 'ѐ' as u32 - 'Ѐ' as u32),
        'ß'..='ÿ' | 'а'..='џ' | '\u{557}'..='\u{109f}' | '\u{1ffd}'..='\u{2125}' => character,
        '\u{2cf3}'..='\u{a63f}' | '\u{a7f6}'..='\u{ff20}' | '\u{1f000}'.. => character,
        _ => fold_any(character),
    }
}

const fn shifted(character: char, distance: u32) -> char {
    match char::from_u32(character as u32 + distance) {
        Some(small) => small,
        None => character,
    }
}

fn fold_any(character: char) -> char {
    let upper = single(character.to_uppercase()).unwrap_or(character);
    single(upper.to_lowercase()).unwrap_or(character)
}

fn single(mut characters: impl Iterator<Item = char>) -> Option<char> {
    let first = characters.next()?;
    characters.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_one_case_is_borrowed() {
        assert!(matches!(fold("plain text 1"), Cow::Borrowed("plain text 1")));
    }

    #[test]
    fn letters_of_both_cases_become_the_same() {
        for (one, other) in [("LUNCH", "lunch"), ("ÉCLAIR", "éclair"), ("ЖУК", "жук"), ("ΟΔΟΣ", "οδος"), ("K", "k")]
        {
            assert_eq!(fold(one), fold(other));
        }
    }

    #[test]
    fn characters_that_need_no_search_become_what_the_tables_say() {
        for character in '\u{80}'..=char::MAX {
            assert_eq!(fold_char(character), fold_any(character), "{character:?}");
        }
    }

    #[test]
    fn the_number_of_characters_stays() {
        for text in ["Straße", "İstanbul", "ﬁn", "ŉ", "🎉A"] {
            assert_eq!(fold(text).chars().count(), text.chars().count(), "{text}");
        }
    }
}
