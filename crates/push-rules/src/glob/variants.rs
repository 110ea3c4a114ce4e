//! The characters that are the same but for their case.

/// Characters beside the one in lower case and its capital letter: signs, final forms, and letters of old prints.
const OTHERS: [(char, &[char]); 29] = [
    ('i', &['ı']),
    ('k', &['\u{212a}']),
    ('s', &['ſ']),
    ('ß', &['ẞ']),
    ('å', &['\u{212b}']),
    ('ǆ', &['ǅ']),
    ('ǉ', &['ǈ']),
    ('ǌ', &['ǋ']),
    ('ǳ', &['ǲ']),
    ('β', &['ϐ']),
    ('ε', &['ϵ']),
    ('θ', &['ϑ', 'ϴ']),
    ('ι', &['\u{345}', '\u{1fbe}']),
    ('κ', &['ϰ']),
    ('μ', &['\u{b5}']),
    ('π', &['ϖ']),
    ('ρ', &['ϱ']),
    ('σ', &['ς']),
    ('φ', &['ϕ']),
    ('ω', &['\u{2126}']),
    ('в', &['\u{1c80}']),
    ('д', &['\u{1c81}']),
    ('о', &['\u{1c82}']),
    ('с', &['\u{1c83}']),
    ('т', &['\u{1c84}', '\u{1c85}']),
    ('ъ', &['\u{1c86}']),
    ('ѣ', &['\u{1c87}']),
    ('ṡ', &['ẛ']),
    ('ꙋ', &['\u{1c88}']),
];

/// All characters that [`fold`](crate::fold::fold) makes this one, which is one of them; `None` if that is not known.
pub(super) fn variants(folded: char) -> Option<impl Iterator<Item = char>> {
    // Capital letters with an iota below them, whose own capitals are two characters.
    if matches!(folded, '\u{1f80}'..='\u{1fff}') {
        return None;
    }
    let mut capitals = folded.to_uppercase();
    let capital = capitals.next().filter(|capital| capitals.next().is_none() && *capital != folded);
    let others = OTHERS.iter().find(|(unit, _)| *unit == folded).map_or(&[][..], |(_, others)| others);
    Some([folded].into_iter().chain(capital).chain(others.iter().copied()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fold::fold_char;

    #[test]
    fn the_variants_of_a_character_are_those_that_become_it_in_one_case() {
        let mut expected: BTreeMap<char, Vec<char>> = BTreeMap::new();
        // Beyond these no character has two cases.
        for character in '\0'..='\u{1ffff}' {
            expected.entry(fold_char(character)).or_default().push(character);
        }
        for (folded, expected) in expected {
            if let Some(variants) = variants(folded) {
                let mut variants: Vec<char> = variants.collect();
                variants.sort_unstable();
                assert_eq!(variants, expected, "{folded:?}");
            }
        }
    }
}
