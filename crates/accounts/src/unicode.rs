//! Texts that look the same are the same, however their characters are composed.

use unicase::UniCase;
use unicode_normalization::UnicodeNormalization as _;

/// A password by the profile `OpaqueString`: other spaces become the usual one, and characters are composed. Characters that the
/// profile does not allow, such as those that Unicode does not know yet, are kept: a password is nothing but bytes to a server.
///
/// <https://www.rfc-editor.org/rfc/rfc8265#section-4.2>
#[must_use]
pub(crate) fn opaque_string(text: &str) -> String {
    let with_spaces = text.chars().map(|character| if is_other_space(character) { ' ' } else { character });
    with_spaces.nfc().collect()
}

/// A text to be searched in or for: without case, and with the forms of a character that only look different made one.
///
/// <https://www.unicode.org/reports/tr15/>, <https://www.unicode.org/versions/latest/core-spec/chapter-5/#G21790>
#[must_use]
pub fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Folding the case may leave what is to be composed, and composing what has a case.
    let composed: String = text.nfkc().collect();
    let once: String = UniCase::unicode(composed).to_folded_case().nfkc().collect();
    UniCase::unicode(once).to_folded_case().nfkc().collect()
}

/// A space other than that of ASCII (general category Zs).
fn is_other_space(character: char) -> bool {
    matches!(character, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composed_and_decomposed_texts_are_one() {
        assert_eq!(opaque_string("u\u{308}ber\u{3000}Ï\u{1f984}\t"), "über Ï\u{1f984}\t");
        // A password keeps its case and its compatibility characters.
        assert_eq!(opaque_string("Straße ﬁ"), "Straße ﬁ");
        for text in ["Cafe\u{301}", "CAFÉ", "ｃａｆé", "café"] {
            assert_eq!(folded(text), "café", "{text}");
        }
        assert_eq!(folded("STRASSE"), folded("Straße"));
        assert_eq!(folded("ΣΊΣΥΦΟΣ"), folded("σίσυφος"));
        assert_eq!(folded("ﬁn"), "fin");
    }
}
