//! Looking for a piece with `?` in it, by shifting bits.

/// The bits of a row.
const ROW_BITS: usize = 64;

/// An automaton that has read as far as unit `n` of a piece where bit `n` of its state is set. A character shifts the state
/// by one and keeps the bits of the units that it fits.
#[derive(Debug, Clone)]
pub(super) struct Automaton {
    /// The number of units.
    length: usize,
    /// The rows of 64 bits that a state has.
    rows: usize,
    /// The characters of the piece, sorted, each once.
    alphabet: Box<[char]>,
    /// For each character of the alphabet the units that it fits, `rows` entries each; then those of any other character.
    fitting: Box<[u64]>,
}

/// How far an automaton is in a text.
pub(super) struct Progress {
    state: Vec<u64>,
    /// Bytes up to the next character.
    at: usize,
    /// Bytes up to the character that is as many characters back as the piece has.
    start: usize,
    /// Characters between the two.
    between: usize,
}

impl Automaton {
    pub(super) fn new(units: &[Option<char>]) -> Self {
        let rows = units.len().div_ceil(ROW_BITS).max(1);
        let mut alphabet: Vec<char> = units.iter().copied().flatten().collect();
        alphabet.sort_unstable();
        alphabet.dedup();
        let characters = alphabet.iter().copied().map(Some).chain([None]);
        let fitting = characters
            .flat_map(|character| {
                let mut row_bits = vec![0_u64; rows];
                for (place, unit) in units.iter().enumerate() {
                    if (unit.is_none() || *unit == character)
                        && let Some(row) = row_bits.get_mut(place / ROW_BITS)
                    {
                        *row |= 1 << (place % ROW_BITS);
                    }
                }
                row_bits
            })
            .collect();
        Self { length: units.len(), rows, alphabet: alphabet.into(), fitting }
    }

    /// In front of the character at `from`.
    pub(super) fn start(&self, from: usize) -> Progress {
        Progress { state: vec![0; self.rows], at: from, start: from, between: 0 }
    }

    /// The next occurrence: where it starts and where it ends.
    pub(super) fn next(&self, progress: &mut Progress, text: &str) -> Option<(usize, usize)> {
        for character in text.get(progress.at..)?.chars() {
            self.shift(&mut progress.state, character);
            progress.at += character.len_utf8();
            if progress.between < self.length {
                progress.between += 1;
            } else {
                let left = text.get(progress.start..).and_then(|text| text.chars().next());
                progress.start += left.map_or(1, char::len_utf8);
            }
            if self.is_through(&progress.state) {
                return Some((progress.start, progress.at));
            }
        }
        None
    }

    fn shift(&self, state: &mut [u64], character: char) {
        let place = self.alphabet.binary_search(&character).unwrap_or(self.alphabet.len());
        let fitting = self.fitting.chunks_exact(self.rows).nth(place).unwrap_or_default();
        let mut carry = 1;
        for (row, fitting) in state.iter_mut().zip(fitting) {
            let next_carry = *row >> (ROW_BITS - 1);
            *row = ((*row << 1) | carry) & fitting;
            carry = next_carry;
        }
    }

    fn is_through(&self, state: &[u64]) -> bool {
        let last = self.length.wrapping_sub(1);
        state.get(last / ROW_BITS).is_some_and(|row| row & (1 << (last % ROW_BITS)) != 0)
    }
}
