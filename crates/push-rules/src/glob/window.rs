//! A piece of ASCII that is compared with text in any case.

/// Bytes that are compared at once.
const WORD: usize = 8;
const ONES: u64 = 0x0101_0101_0101_0101;
/// The bit that bytes beyond ASCII have.
const HIGH: u64 = 0x80 * ONES;

/// A piece in words, with a mask that leaves `?` out. Text beyond ASCII is left to the slower comparison, because a character
/// may have another length in the other case.
#[derive(Debug, Clone)]
pub(super) struct Window {
    length: usize,
    /// The words before the last one, at the multiples of their size.
    whole: Box<[Masked]>,
    /// The last word, at the end. It may repeat bytes of itself or of the word before it.
    last: Masked,
}

#[derive(Debug, Clone, Copy)]
struct Masked {
    units: u64,
    mask: u64,
}

impl Window {
    /// `None` if the units are not all ASCII or `?`.
    pub(super) fn new(units: &[Option<char>]) -> Option<Self> {
        let byte = |unit: char| u8::try_from(unit).ok().filter(u8::is_ascii);
        let bytes = units.iter().map(|unit| unit.map_or(Some(0), byte)).collect::<Option<Vec<u8>>>()?;
        let mask: Vec<u8> = units.iter().map(|unit| if unit.is_some() { u8::MAX } else { 0 }).collect();
        let (whole, _) = bytes.get(..bytes.len().saturating_sub(1)).unwrap_or_default().as_chunks();
        let whole = whole.iter().zip(mask.as_chunks().0).map(|(units, mask)| Masked::new(word(units), word(mask)));
        let last = Masked::new(last_word(&bytes), last_word(&mask));
        Some(Self { length: bytes.len(), whole: whole.collect(), last })
    }

    /// The length in bytes.
    pub(super) const fn length(&self) -> usize {
        self.length
    }

    /// Whether bytes, as many as the piece has, fit the piece in either case; `None` if one of them is not ASCII.
    #[inline]
    pub(super) fn fits(&self, bytes: &[u8]) -> Option<bool> {
        let last = last_word(bytes);
        let (mut all, mut differing) = (last, self.last.differing(last));
        for (masked, bytes) in self.whole.iter().zip(bytes.as_chunks().0) {
            let word = word(bytes);
            all |= word;
            differing |= masked.differing(word);
        }
        (all & HIGH == 0).then_some(differing == 0)
    }
}

impl Masked {
    const fn new(units: u64, mask: u64) -> Self {
        Self { units: units & mask, mask }
    }

    const fn differing(self, word: u64) -> u64 {
        (lowercase(word) & self.mask) ^ self.units
    }
}

const fn word(bytes: &[u8; WORD]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// The last bytes as a word. If there are fewer bytes than it holds, it has all of them, some of them twice.
#[inline]
fn last_word(bytes: &[u8]) -> u64 {
    if let Some(last) = bytes.last_chunk() {
        return word(last);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last));
    }
    match *bytes {
        [one] => u64::from(one),
        [one, two] => u64::from_le_bytes([one, two, 0, 0, 0, 0, 0, 0]),
        [one, two, three] => u64::from_le_bytes([one, two, three, 0, 0, 0, 0, 0]),
        _ => 0,
    }
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

    fn window(text: &str) -> Window {
        let units: Vec<Option<char>> = text.chars().map(|unit| (unit != '?').then_some(unit)).collect();
        Window::new(&units).unwrap()
    }

    #[test]
    fn pieces_of_any_length_are_compared_to_their_last_byte() {
        for length in 0..40 {
            let text = "abcdefghij".repeat(4);
            let text = text.get(..length).unwrap();
            let whole = window(text);
            assert_eq!(whole.fits(text.to_uppercase().as_bytes()), Some(true), "{length}");
            for at in 0..length {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] = b'-';
                assert_eq!(whole.fits(&bytes), Some(false), "{at} of {length}");
                let mut piece = text.as_bytes().to_vec();
                piece[at] = b'?';
                assert_eq!(window(str::from_utf8(&piece).unwrap()).fits(&bytes), Some(true), "{at} of {length}");
            }
        }
    }
}
