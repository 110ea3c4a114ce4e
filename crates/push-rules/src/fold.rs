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
        (false, _) => Cow::Owned(text.chars().map(fold_char).collect()),
    }
}

fn fold_char(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
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
    fn the_number_of_characters_stays() {
        for text in ["Straße", "İstanbul", "ﬁn", "ŉ", "🎉A"] {
            assert_eq!(fold(text).chars().count(), text.chars().count(), "{text}");
        }
    }
}
