//! Texts that look the same are the same, however their characters are composed.

use unicase::UniCase;
use unicode_normalization::UnicodeNormalization as _;

/// A text to be searched in or for: without case, and with the forms of a character that only look different made one.
///
/// <https://www.unicode.org/reports/tr15/>, <https://www.unicode.org/versions/latest/core-spec/chapter-5/#G21790>
#[must_use]
pub(crate) fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Folding the case may leave what is to be composed, and composing what has a case.
    let composed: String = text.nfkc().collect();
    let once: String = UniCase::unicode(composed).to_folded_case().nfkc().collect();
    UniCase::unicode(once).to_folded_case().nfkc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_look_the_same_are_found() {
        for text in ["Cafe\u{301}", "CAFÉ", "ｃａｆé", "café"] {
            assert_eq!(folded(text), "café", "{text}");
        }
        assert_eq!(folded("STRASSE"), folded("Straße"));
        assert_eq!(folded("ΣΊΣΥΦΟΣ"), folded("σίσυφος"));
        assert_eq!(folded("ﬁn"), "fin");
    }
}
