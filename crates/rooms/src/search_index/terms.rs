//! Texts as terms of the index.
//!
//! A text is folded (no case, one form of each character) and cut into runs of letters and digits. Of a run in a script that puts spaces
//! between words, the terms are all parts of three characters, and its beginnings of one and two. Of a run in a script that does not
//! (Chinese, Japanese, Korean), they are all single characters and pairs.

use std::collections::BTreeSet;

use accounts::unicode::folded;

/// Most words of a search; further ones are not regarded.
const MAX_WORDS: usize = 16;
/// Most characters of a text that are indexed.
const MAX_TEXT_CHARS: usize = 20_000;
/// Terms are numbers of so many bits. Two parts may have the same: then the texts decide.
const TERM_BITS: u32 = 22;

/// Whether the script of a letter puts no spaces between words.
fn is_dense(character: char) -> bool {
    matches!(u32::from(character),
        0x1100..=0x11FF | 0x2E80..=0x9FFF | 0xA960..=0xA97F | 0xAC00..=0xD7FF | 0xF900..=0xFAFF | 0x1_B000..=0x1_B16F
        | 0x2_0000..=0x3_FFFF)
}

/// Whether a character is part of a word: letters, digits, and the marks that belong to letters in many scripts.
fn is_of_word(character: char) -> bool {
    let is_mark = || {
        matches!(u32::from(character),
            0x0300..=0x036F | 0x0483..=0x0489 | 0x0591..=0x05BD | 0x0610..=0x061A | 0x064B..=0x065F | 0x0670
            | 0x06D6..=0x06ED | 0x0900..=0x0963 | 0x0966..=0x0DFF | 0x0E00..=0x0EFF | 0x0F71..=0x0FBC | 0x1000..=0x109F
            | 0x1780..=0x17D3 | 0x1AB0..=0x1AFF | 0x1DC0..=0x1DFF | 0x20D0..=0x20FF | 0xFE20..=0xFE2F)
    };
    character.is_alphanumeric() || is_mark()
}

/// The runs of letters and digits in a folded text; each is all of dense scripts, or all of others.
fn runs(folded: &str) -> Vec<Vec<char>> {
    let mut runs: Vec<Vec<char>> = Vec::new();
    let mut last = None;
    for character in folded.chars().take(MAX_TEXT_CHARS) {
        let kind = is_of_word(character).then(|| is_dense(character));
        match (kind, runs.last_mut()) {
            (Some(_), Some(run)) if kind == last => run.push(character),
            (Some(_), _) => runs.push(vec![character]),
            (None, _) => {}
        }
        last = kind;
    }
    runs
}

/// The number of a part of a run. FNV-1a, folded to the bits of a term.
fn term(part: &[char]) -> i64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325 ^ part.len() as u64;
    for character in part {
        hash = (hash ^ u64::from(u32::from(*character))).wrapping_mul(0x0100_0000_01b3);
    }
    let folded = (hash ^ (hash >> TERM_BITS) ^ (hash >> (2 * TERM_BITS))) & ((1 << TERM_BITS) - 1);
    i64::try_from(folded).unwrap_or(0)
}

/// The terms of a text.
pub(crate) fn terms_of(text: &str) -> BTreeSet<i64> {
    let mut terms = BTreeSet::new();
    for run in runs(&folded(text)) {
        if run.first().copied().is_some_and(is_dense) {
            terms.extend(run.windows(1).chain(run.windows(2)).map(term));
        } else {
            terms.extend(run.windows(3).map(term));
            terms.extend((1..=2).filter_map(|length| run.get(..length)).map(term));
        }
    }
    terms
}

/// The words of a search: a text that is found has all of them.
pub(crate) struct Words(Vec<Word>);

struct Word {
    text: String,
    /// A short word of a script with spaces between words is found only where a word begins: otherwise it would be found everywhere.
    is_at_beginning: bool,
}

impl Words {
    /// The words of a search term. Whatever is no letter or digit only separates them.
    pub(crate) fn new(search_term: &str) -> Self {
        let folded = folded(search_term);
        let words = folded.split(|character: char| !is_of_word(character)).filter(|word| !word.is_empty());
        let word = |text: &str| Word {
            text: text.to_owned(),
            is_at_beginning: text.chars().count() < 3 && !text.chars().any(is_dense),
        };
        Self(words.take(MAX_WORDS).map(word).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The words as they are compared.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|word| word.text.as_str())
    }

    /// Terms that every text has in which the words are found.
    pub(crate) fn terms(&self) -> BTreeSet<i64> {
        let mut terms = BTreeSet::new();
        for word in &self.0 {
            for run in runs(&word.text) {
                let is_dense = run.first().copied().is_some_and(is_dense);
                let length = if is_dense { 2 } else { 3 };
                if run.len() >= length {
                    terms.extend(run.windows(length).map(term));
                } else if is_dense || word.is_at_beginning {
                    terms.insert(term(&run));
                }
            }
        }
        terms
    }

    /// How well a text fits, the more the better; `None` if a word is missing.
    pub(crate) fn rank(&self, text: &str) -> Option<f64> {
        let text = folded(text);
        let mut rank = 0.0;
        for word in &self.0 {
            let (mut found, mut whole) = (0_u32, 0_u32);
            for (at, matched) in text.match_indices(word.text.as_str()) {
                let is_word = |character: char| is_of_word(character) && !is_dense(character);
                let begins = !text.get(..at).and_then(|before| before.chars().next_back()).is_some_and(is_word);
                let after = text.get(at + matched.len()..).and_then(|after| after.chars().next());
                found += u32::from(begins || !word.is_at_beginning);
                whole += u32::from(begins && !after.is_some_and(is_word));
            }
            if found == 0 {
                return None;
            }
            rank += f64::from(found).ln_1p() + f64::from(whole.min(1));
        }
        // The same words are more of a short text than of a long one.
        let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        Some(rank / (1.0 + f64::from(length).ln_1p() / 8.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the index finds the text, and whether it fits.
    fn finds(search_term: &str, text: &str) -> (bool, bool) {
        let words = Words::new(search_term);
        (words.terms().is_subset(&terms_of(text)), words.rank(text).is_some())
    }

    #[test]
    fn words_and_their_parts_are_found_in_any_script() {
        for (search_term, text) in [
            ("martians and men", "Of men and Martians"),
            ("artia", "Of men and Martians"),
            ("ma", "Of men and Martians"),
            ("m", "Of men and Martians"),
            ("STRASSE", "Hauptstraße 5"),
            ("東京", "昨日は東京に行きました"),
            ("京", "昨日は東京に行きました"),
            ("안녕", "여러분 안녕하세요"),
            ("中文搜索", "我們支持中文搜索吗"),
            ("东京tower", "看东京Tower了"),
            ("москв", "В Москве дождь"),
            ("\"quoted\" -minus OR *", "a quoted minus or star"),
            ("ｆｕｌｌ", "full width"),
            ("हिन्दी", "यह हिन्दी है"),
            ("ภาษา", "ฉันพูดภาษาไทย"),
        ] {
            assert_eq!(finds(search_term, text), (true, true), "{search_term} in {text}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for (search_term, text) in [("martians", "Martian"), ("en", "Of men"), ("東大", "東京大学"), ("a b", "only a")]
        {
            assert!(!finds(search_term, text).1, "{search_term} in {text}");
        }
        assert!(Words::new(" \"'-*% ").is_empty());
    }

    #[test]
    fn what_fits_is_never_missed_by_the_index() {
        let texts = ["Ünïcode naïve café 12345", "東京タワー tower 大阪", "a bb ccc dddd", "mixed混合mixed"];
        for text in texts {
            let characters: Vec<char> = text.chars().collect();
            for start in 0..characters.len() {
                for end in start + 1..=characters.len() {
                    let search_term: String = characters[start..end].iter().collect();
                    let (is_indexed, fits) = finds(&search_term, text);
                    assert!(is_indexed || !fits, "{search_term} in {text}");
                }
            }
        }
    }

    #[test]
    fn whole_words_in_short_texts_fit_best() {
        let rank = |text| Words::new("rain").rank(text).unwrap();
        assert!(rank("rain") > rank("training") && rank("rain") > rank("it will rain for the whole of the day"));
    }
}
