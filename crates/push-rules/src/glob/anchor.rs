//! Finding the places in a text where a piece may be, in any case.

use super::variants::variants;

/// The part of a piece that is searched for first: the part that is rarest in other texts.
#[derive(Debug, Clone)]
pub(super) struct Anchor {
    /// The number of units before it.
    pub(super) place: usize,
    needle: Needle,
}

#[derive(Debug, Clone, Copy)]
enum Needle {
    /// Two neighbouring units that are ASCII in both cases. Few texts have both.
    Pair(Lane, Lane),
    /// The last bytes of a unit in all cases.
    One(u8),
    Two(u8, u8),
    Three(u8, u8, u8),
}

/// A byte of ASCII in both cases, repeated eight times.
#[derive(Debug, Clone, Copy)]
struct Lane {
    small: u64,
    /// The bit by which a capital letter differs; 0 if it is no letter.
    case: u64,
}

/// The characters of texts and IDs, the rarest first. A character that is not here comes after `z`, `q`, `x` and `j`.
const BY_FREQUENCY: &[u8] = b"zqxj0kvbpygfwmucdlhrsinoate ";
const SELDOM: usize = 4;

/// Bytes that are compared at once.
const WORD: usize = 8;
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;

impl Anchor {
    /// `None` if no unit has few enough variants.
    pub(super) fn new(units: &[Option<char>]) -> Option<Self> {
        Self::pair(units).or_else(|| Self::single(units))
    }

    fn pair(units: &[Option<char>]) -> Option<Self> {
        let pairs = units.windows(2).enumerate().filter_map(|(place, pair)| {
            let [Some(first), Some(second)] = *pair else { return None };
            let needle = Needle::Pair(Lane::new(first)?, Lane::new(second)?);
            Some((frequency(first) + frequency(second), Self { place, needle }))
        });
        pairs.min_by_key(|(frequency, _)| *frequency).map(|(_, anchor)| anchor)
    }

    fn single(units: &[Option<char>]) -> Option<Self> {
        let places = units.iter().enumerate().filter_map(|(place, unit)| Some((place, (*unit)?)));
        let anchors = places.filter_map(|(place, unit)| {
            let (needle, bytes) = Needle::single(unit)?;
            Some(((frequency(unit), bytes), Self { place, needle }))
        });
        anchors.min_by_key(|(cost, _)| *cost).map(|(_, anchor)| anchor)
    }

    /// The next place where the piece may be: the last byte of the anchor's first unit.
    #[inline]
    pub(super) fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self.needle {
            Needle::Pair(first, second) => find_pair(first, second, bytes),
            Needle::One(one) => memchr::memchr(one, bytes),
            Needle::Two(one, two) => memchr::memchr2(one, two, bytes),
            Needle::Three(one, two, three) => memchr::memchr3(one, two, three, bytes),
        }
    }
}

impl Needle {
    /// The needle, and the number of bytes that it searches for.
    fn single(unit: char) -> Option<(Self, usize)> {
        let last_byte = |unit: char| unit.encode_utf8(&mut [0; 4]).bytes().last();
        let mut ends: Vec<u8> = variants(unit)?.filter_map(last_byte).collect();
        ends.sort_unstable();
        ends.dedup();
        let needle = match *ends {
            [one] => Self::One(one),
            [one, two] => Self::Two(one, two),
            [one, two, three] => Self::Three(one, two, three),
            _ => return None,
        };
        Some((needle, ends.len()))
    }
}

impl Lane {
    /// `None` if a character beyond ASCII is the same in another case.
    fn new(unit: char) -> Option<Self> {
        let byte = u8::try_from(unit).ok().filter(u8::is_ascii)?;
        variants(unit)?
            .all(|unit| unit.is_ascii())
            .then(|| Self { small: u64::from(byte) * ONES, case: u64::from(byte ^ byte.to_ascii_uppercase()) * ONES })
    }

    /// Without a bit where the byte is.
    const fn differing(self, bytes: u64) -> u64 {
        (bytes | self.case) ^ self.small
    }
}

/// About how frequent a character is. Most texts are ASCII, so other characters are the rarest.
fn frequency(unit: char) -> usize {
    if !unit.is_ascii() {
        return 0;
    }
    let place = BY_FREQUENCY.iter().position(|byte| char::from(*byte) == unit);
    1 + place.unwrap_or(SELDOM)
}

#[inline]
fn find_pair(first: Lane, second: Lane, bytes: &[u8]) -> Option<usize> {
    let in_word = |ones: &[u8; WORD], others: &[u8; WORD]| {
        let differing = first.differing(u64::from_le_bytes(*ones)) | second.differing(u64::from_le_bytes(*others));
        // The lowest of these bits is that of the first byte without a bit; those above it may be wrong.
        let found = differing.wrapping_sub(ONES) & !differing & HIGH;
        (found != 0).then(|| (found.trailing_zeros() / u8::BITS) as usize)
    };
    let (ones, others) = (bytes.get(..bytes.len().checked_sub(1)?)?, bytes.get(1..)?);
    let (words, rest) = ones.as_chunks();
    for (number, (ones, others)) in words.iter().zip(others.as_chunks().0).enumerate() {
        if let Some(found) = in_word(ones, others) {
            return Some(number * WORD + found);
        }
    }
    match (ones.last_chunk(), others.last_chunk()) {
        _ if rest.is_empty() => None,
        // The last word has some bytes again.
        (Some(last), Some(last_others)) => in_word(last, last_others).map(|found| ones.len() - WORD + found),
        _ => {
            let others = others.as_chunks::<WORD>().1;
            let is_pair = |(one, other): (&u8, &u8)| {
                (first.differing(u64::from(*one)) | second.differing(u64::from(*other))) & 0xff == 0
            };
            rest.iter().zip(others).position(is_pair)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_found_wherever_it_is() {
        let (first, second) = (Lane::new('a').unwrap(), Lane::new('b').unwrap());
        for length in 0..70 {
            for at in 0..length {
                let mut text = vec![b'-'; length];
                text[at] = b'A';
                assert_eq!(find_pair(first, second, &text), None, "one of them at {at} of {length}");
                if let Some(next) = text.get_mut(at + 1) {
                    *next = b'b';
                    assert_eq!(find_pair(first, second, &text), Some(at), "{at} of {length}");
                }
            }
        }
    }
}
