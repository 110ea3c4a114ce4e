//! The two ends of a pattern, compared with text that is in any case.

/// Bytes that are compared at once.
const WORD: usize = 8;
const ONES: u64 = 0x0101_0101_0101_0101;
/// The bit by which what is not ASCII is known.
const HIGH: u64 = 0x80 * ONES;

/// What a text must begin and end with, for patterns of ASCII. By this nearly every text is decided without a copy of it in one
/// case. What is not ASCII is left to the pieces: a character may have another length in the other case.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    start: End,
    /// None without a star: then the start is everything.
    end: Option<End>,
    is_all: bool,
}

/// A piece in words, with a mask that leaves `?` out. The words of a longer piece are at the multiples of their size, and the
/// last one at its end.
#[derive(Debug, Clone)]
struct End {
    length: usize,
    words: Box<[(u64, u64)]>,
}

impl Ends {
    /// Of a pattern in one case.
    pub(super) fn new(folded: &str) -> Option<Self> {
        if !folded.is_ascii() {
            return None;
        }
        Some(match folded.split_once('*') {
            None => Self { start: End::new(folded), end: None, is_all: true },
            Some((start, rest)) => {
                let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
                let is_all = middle.bytes().all(|unit| unit == b'*');
                Self { start: End::new(start), end: Some(End::new(end)), is_all }
            }
        })
    }

    /// Whether the pattern matches the whole text, if that can be told.
    pub(super) fn matches(&self, text: &str) -> Option<bool> {
        let bytes = text.as_bytes();
        let Some(first) = bytes.get(..self.start.length) else { return text.is_ascii().then_some(false) };
        if !self.start.fits(first)? {
            return Some(false);
        }
        let rest = bytes.get(self.start.length..).unwrap_or_default();
        let Some(end) = &self.end else {
            // One character more is one too many, whatever it is.
            return Some(rest.is_empty());
        };
        let Some(last) = rest.len().checked_sub(end.length).and_then(|at| rest.get(at..)) else {
            return text.is_ascii().then_some(false);
        };
        if !end.fits(last)? {
            return Some(false);
        }
        self.is_all.then_some(true)
    }
}

impl End {
    fn new(piece: &str) -> Self {
        let mask: Vec<u8> = piece.bytes().map(|unit| if unit == b'?' { 0 } else { u8::MAX }).collect();
        let words = words(piece.as_bytes()).zip(words(&mask));
        Self { length: piece.len(), words: words.map(|(unit, mask)| (unit & mask, mask)).collect() }
    }

    /// Whether bytes, as many as the piece has, are what they should be in either case; unknown if one of them is not ASCII.
    fn fits(&self, bytes: &[u8]) -> Option<bool> {
        let (mut all, mut differing) = (0, 0);
        for ((unit, mask), word) in self.words.iter().zip(words(bytes)) {
            all |= word;
            differing |= (lowercase(word) & mask) ^ unit;
        }
        (all & HIGH == 0).then_some(differing == 0)
    }
}

/// The bytes in words, of which the last may have some of the one before it again. Few bytes are filled up with zeros.
fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (whole, rest) = bytes.as_chunks::<WORD>();
    let last = match bytes.last_chunk::<WORD>() {
        _ if rest.is_empty() => None,
        Some(last) => Some(u64::from_le_bytes(*last)),
        None => Some(rest.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte))),
    };
    whole.iter().map(|word| u64::from_le_bytes(*word)).chain(last)
}

/// The word with its capital letters of ASCII made small.
const fn lowercase(word: u64) -> u64 {
    let low = word & !HIGH;
    let is_from_a = low + (0x80 - b'A' as u64) * ONES;
    let is_behind_z = low + (0x7f - b'Z' as u64) * ONES;
    let is_capital = (is_from_a ^ is_behind_z) & !word & HIGH;
    word | (is_capital >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capital_letters_become_small_and_nothing_else_changes() {
        for byte in 0..=u8::MAX {
            for at in 0..WORD {
                let mut bytes = [b'['; WORD];
                bytes[at] = byte;
                let expected = bytes.map(|byte| byte.to_ascii_lowercase());
                assert_eq!(lowercase(u64::from_le_bytes(bytes)).to_le_bytes(), expected, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn pieces_of_any_length_are_compared_to_their_last_byte() {
        for length in 0..40 {
            let text = "abcdefghij".repeat(4);
            let text = text.get(..length).unwrap();
            let end = End::new(text);
            assert_eq!(end.fits(text.to_uppercase().as_bytes()), Some(true), "{length}");
            for at in 0..length {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] = b'-';
                assert_eq!(end.fits(&bytes), Some(false), "{at} of {length}");
                let mut piece = text.as_bytes().to_vec();
                piece[at] = b'?';
                assert_eq!(End::new(str::from_utf8(&piece).unwrap()).fits(&bytes), Some(true), "{at} of {length}");
            }
        }
    }
}
