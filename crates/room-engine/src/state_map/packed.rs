//! Columns of integers in as few bits as their range needs, each readable without those before it.

/// The widest value that one unaligned read of eight bytes always covers.
const MAX_UNALIGNED_BITS: u32 = 56;

/// A column of a chunk: a smallest value, and for each row the distance to it in `width` bits, lowest bits first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Column {
    base: i64,
    width: u32,
    start: usize,
}

impl Column {
    /// The column that fits `values`, without a place in a chunk yet.
    pub(super) fn fitting(values: impl Iterator<Item = i64>) -> Self {
        let range = values.fold(None, |range, value| match range {
            None => Some((value, value)),
            Some((low, high)) => Some((value.min(low), value.max(high))),
        });
        let (base, high) = range.unwrap_or_default();
        let width = u64::BITS - distance(base, high).leading_zeros();
        Self { base, width: if width > MAX_UNALIGNED_BITS { u64::BITS } else { width }, start: 0 }
    }

    /// The bytes that `rows` values occupy; `None` for impossibly many.
    pub(super) fn size_bytes(&self, rows: usize) -> Option<usize> {
        Some(rows.checked_mul(usize::try_from(self.width).ok()?)?.div_ceil(8))
    }

    /// This column, beginning `start` bytes into its chunk.
    pub(super) fn at(self, start: usize) -> Self {
        Self { start, ..self }
    }

    /// The value of a row. Rows beyond the chunk are the smallest value.
    #[inline]
    pub(super) fn value(&self, chunk: &[u8], row: usize) -> i64 {
        let Some(mask) = u64::MAX.checked_shr(u64::BITS - self.width) else { return self.base };
        let bit = row * self.width as usize;
        let rest = chunk.get(self.start + bit / 8..).unwrap_or_default();
        let window = match rest.first_chunk() {
            Some(window) => u64::from_le_bytes(*window),
            None => last_window(rest),
        };
        self.base.wrapping_add(((window >> (bit % 8)) & mask).cast_signed())
    }

    /// Appends smallest value and width.
    pub(super) fn write_header(&self, chunk: &mut Vec<u8>) {
        write_varint(chunk, (self.base.cast_unsigned() << 1) ^ (self.base >> 63).cast_unsigned());
        write_varint(chunk, self.width.into());
    }

    /// What [`write_header`](Self::write_header) wrote, from the front of `rest`.
    pub(super) fn read_header(rest: &mut &[u8]) -> Option<Self> {
        let base = read_varint(rest)?;
        let base = (base >> 1).cast_signed() ^ -(base & 1).cast_signed();
        let width = u32::try_from(read_varint(rest)?).ok()?;
        (width <= MAX_UNALIGNED_BITS || width == u64::BITS).then_some(Self { base, width, start: 0 })
    }

    /// Appends the rows.
    pub(super) fn write_rows(&self, chunk: &mut Vec<u8>, values: impl Iterator<Item = i64>) {
        if self.width == 0 {
            return;
        }
        let (mut pending, mut filled) = (0_u64, 0);
        for value in values {
            let bits = distance(self.base, value);
            pending |= bits << filled;
            filled += self.width;
            if let Some(left_over) = filled.checked_sub(u64::BITS) {
                chunk.extend_from_slice(&pending.to_le_bytes());
                pending = bits.checked_shr(self.width - left_over).unwrap_or_default();
                filled = left_over;
            }
        }
        chunk.extend(pending.to_le_bytes().iter().take(filled.div_ceil(8) as usize));
    }
}

/// The distance from `low` up to `high`, for all pairs of 64-bit integers.
const fn distance(low: i64, high: i64) -> u64 {
    high.wrapping_sub(low).cast_unsigned()
}

#[cold]
fn last_window(rest: &[u8]) -> u64 {
    rest.iter().rev().fold(0, |window, byte| window << 8 | u64::from(*byte))
}

/// Appends seven bits a byte, lowest first.
pub(super) fn write_varint(chunk: &mut Vec<u8>, mut value: u64) {
    while let [low, ..] = value.to_le_bytes()
        && value >= 0x80
    {
        chunk.push(low | 0x80);
        value >>= 7;
    }
    chunk.extend(value.to_le_bytes().first());
}

/// Takes what [`write_varint`] wrote from the front of `rest`.
pub(super) fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *rest.split_off_first()?;
        let bits = u64::from(byte & 0x7f);
        value |= bits << shift;
        if bits << shift >> shift != bits {
            return None;
        }
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
