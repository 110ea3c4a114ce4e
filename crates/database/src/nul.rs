//! Text with U+0000, which PostgreSQL does not store. Events may have it in any identifier, and a server that refuses such an event
//! cannot accept the events that follow it.

use std::borrow::Cow;

/// Replaces U+0000 and itself, followed by a digit. Unicode assigns nothing to it, and never will.
const ESCAPE: char = '\u{10ffff}';

/// The text as it is stored.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut stored = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => stored.extend([ESCAPE, '0']),
            ESCAPE => stored.extend([ESCAPE, '1']),
            other => stored.push(other),
        }
    }
    Cow::Owned(stored)
}

/// The text that was stored as this.
pub(crate) fn unescaped(stored: String) -> String {
    if !stored.contains(ESCAPE) {
        return stored;
    }
    let mut text = String::with_capacity(stored.len());
    let mut characters = stored.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            ESCAPE if characters.next() == Some('0') => '\0',
            other => other,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_and_none_is_stored_with_what_cannot_be() {
        let parts = ["", "\0", "\u{10ffff}", "0", "1", "é"];
        for number in 0..parts.len().pow(3) {
            let text = [number, number / 6, number / 36].map(|index| parts[index % 6]).concat();
            let stored = escaped(&text).into_owned();
            assert!(!stored.contains('\0'));
            assert_eq!(unescaped(stored), text);
        }
        assert!(matches!(escaped("m.room.message"), Cow::Borrowed(_)));
    }
}
