use std::sync::Arc;

use bytes::Bytes;
use homeserver_core::{EventSn, HeapSize, KeySn, TypeSn, allocation_bytes};

use super::{
    ChunkId, Place, StateMapError,
    boundary::MAX_LEVEL,
    packed::{Column, read_varint, write_varint},
    row::Row,
};

/// The first byte of every chunk. Another layout of chunks gets another number.
const FORMAT: u8 = 1;

/// Entries of one leaf, or children of one branch, in order; the bytes of the chunk and where to find what in them.
///
/// Nothing is unpacked: a row is read out of the bytes when it is asked for, in constant time, so a chunk in a cache
/// occupies what it does on disk and a fixed number of bytes. Clones share them.
///
/// # Layout
///
/// | bytes | |
/// |---|---|
/// | 1 | format, now 1 |
/// | 1 | level; 0 for a leaf |
/// | varint | number of rows |
/// | 2 varints per column | smallest value (zigzag) and bits per row |
/// | columns | for each row the distance to the smallest value, bits packed; each column begins with a new byte |
/// | 20 per row | only branches: the IDs of the children |
///
/// A leaf has three columns: type, state key, event. A branch has four: type and state key of the first entry below the
/// child, number of entries below the child, and number of the child's children.
#[derive(Debug, Clone)]
pub struct Chunk(Arc<Parsed>);

#[derive(Debug)]
struct Parsed {
    id: ChunkId,
    bytes: Bytes,
    level: u8,
    rows: usize,
    entries: u64,
    columns: [Column; 4],
    ids_start: usize,
}

impl HeapSize for Chunk {
    fn heap_bytes(&self) -> usize {
        const REFERENCE_COUNTS_BYTES: usize = 2 * size_of::<usize>();
        allocation_bytes(size_of::<Parsed>() + REFERENCE_COUNTS_BYTES) + allocation_bytes(self.0.bytes.len())
    }
}

impl Chunk {
    /// Reads a chunk that was stored under `id`.
    ///
    /// # Errors
    /// [`StateMapError::Corrupt`] when the bytes have another ID or are no chunk.
    pub fn parse(id: ChunkId, bytes: Bytes) -> Result<Self, StateMapError> {
        if ChunkId::of(&bytes) != id {
            return Err(StateMapError::Corrupt { id, reason: "the bytes have another ID" });
        }
        let mut parsed =
            Parsed::read_header(id, bytes).ok_or(StateMapError::Corrupt { id, reason: "no valid header" })?;
        parsed.entries = parsed.checked_rows().map_err(|reason| StateMapError::Corrupt { id, reason })?;
        Ok(Self(Arc::new(parsed)))
    }

    /// The chunk of these rows, which are in order and not empty.
    pub(super) fn of_rows<R: Row>(level: u8, rows: &[(Place, R)]) -> Self {
        let values = |column: usize| {
            rows.iter().map(move |(place, row)| match column {
                0 => place.event_type.0,
                1 => place.state_key.0,
                column => row.value(column),
            })
        };
        let mut columns = [Column::default(); 4];
        let mut bytes = Vec::with_capacity(48 + rows.len() * R::TYPICAL_BYTES);
        bytes.extend([FORMAT, level]);
        write_varint(&mut bytes, rows.len() as u64);
        for (index, column) in columns.iter_mut().enumerate().take(column_count(level)) {
            *column = Column::fitting(values(index));
            column.write_header(&mut bytes);
        }
        for (index, column) in columns.iter_mut().enumerate().take(column_count(level)) {
            *column = column.at(bytes.len());
            column.write_rows(&mut bytes, values(index));
        }
        let ids_start = bytes.len();
        rows.iter().filter_map(|(_, row)| row.id()).for_each(|id| bytes.extend_from_slice(id));
        let entries = rows.iter().fold(0_u64, |sum, (_, row)| sum.saturating_add(row.entries()));
        Self(Arc::new(Parsed {
            id: ChunkId::of(&bytes),
            bytes: bytes.into_boxed_slice().into(),
            level,
            rows: rows.len(),
            entries,
            columns,
            ids_start,
        }))
    }

    /// The branch with other child IDs in some rows. The numbers of entries and children stay.
    pub(super) fn with_child_ids(&self, ids: &[(usize, ChunkId)]) -> Self {
        let mut bytes = Vec::from(self.0.bytes.as_ref());
        for (row, id) in ids {
            let rest = bytes.get_mut(self.0.ids_start + row * ChunkId::BYTES..).unwrap_or_default();
            if let Some(old) = rest.first_chunk_mut() {
                *old = *id.as_bytes();
            }
        }
        Self(Arc::new(Parsed { id: ChunkId::of(&bytes), bytes: bytes.into(), ..*self.0 }))
    }

    /// The ID.
    pub fn id(&self) -> ChunkId {
        self.0.id
    }

    /// The bytes of the ID, as they are stored.
    pub fn id_bytes(&self) -> &[u8; ChunkId::BYTES] {
        self.0.id.as_bytes()
    }

    /// The bytes to store.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// The number of levels below this chunk; 0 for a leaf.
    pub fn level(&self) -> u8 {
        self.0.level
    }

    /// The number of entries in this chunk and below it.
    pub fn entries(&self) -> u64 {
        self.0.entries
    }

    /// The chunks that this one refers to, for the collection of unused chunks.
    pub fn children(&self) -> impl Iterator<Item = ChunkId> {
        (0..if self.level() == 0 { 0 } else { self.rows() }).map(|row| self.child_id(row))
    }

    pub(super) fn rows(&self) -> usize {
        self.0.rows
    }

    /// The place of a row; of a branch, the place of the first entry below that child.
    #[inline]
    pub(super) fn place(&self, row: usize) -> Place {
        self.0.place(row)
    }

    #[inline]
    pub(super) fn value(&self, column: usize, row: usize) -> i64 {
        self.0.value(column, row)
    }

    pub(super) fn child_id(&self, row: usize) -> ChunkId {
        let id = self.0.bytes.get(self.0.ids_start + row * ChunkId::BYTES..).and_then(|rest| rest.first_chunk());
        id.map_or(ChunkId::EMPTY, |id| ChunkId::from(*id))
    }

    /// The event at `place`, which must be looked for in a leaf.
    pub(super) fn event(&self, place: Place) -> Option<EventSn> {
        self.row_of(place).map(|row| EventSn::read(self, row))
    }

    /// The row of exactly this place.
    pub(super) fn row_of(&self, place: Place) -> Option<usize> {
        let row = self.rows_before(place);
        (row < self.rows() && self.place(row) == place).then_some(row)
    }

    /// The number of rows before `place`.
    pub(super) fn rows_before(&self, place: Place) -> usize {
        self.partition(|row_place| row_place < place)
    }

    /// The number of rows up to `place`, with the one at it.
    pub(super) fn rows_up_to(&self, place: Place) -> usize {
        self.partition(|row_place| row_place <= place)
    }

    fn partition(&self, is_before: impl Fn(Place) -> bool) -> usize {
        let (mut low, mut high) = (0, self.rows());
        while low < high {
            let middle = low.midpoint(high);
            if is_before(self.place(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// All rows; `R` must be the kind of row that chunks of this level have.
    pub(super) fn iter<R: Row>(&self) -> impl Iterator<Item = (Place, R)> {
        (0..self.rows()).map(|row| (self.place(row), R::read(self, row)))
    }
}

impl Parsed {
    fn read_header(id: ChunkId, bytes: Bytes) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[FORMAT])?;
        let level = *rest.split_off_first()?;
        let rows = usize::try_from(read_varint(&mut rest)?).ok()?;
        // Places differ, so each row has at least one bit.
        if level > MAX_LEVEL || rows == 0 || rows.div_ceil(8) > bytes.len() {
            return None;
        }
        let mut columns = [Column::default(); 4];
        let used = columns.get_mut(..column_count(level))?;
        for column in used.iter_mut() {
            *column = Column::read_header(&mut rest)?;
        }
        let mut start = bytes.len() - rest.len();
        for column in used {
            *column = column.at(start);
            start = start.checked_add(column.size_bytes(rows)?)?;
        }
        let ids_bytes = if level == 0 { 0 } else { rows.checked_mul(ChunkId::BYTES)? };
        let end = start.checked_add(ids_bytes)?;
        (end == bytes.len()).then_some(Self { id, bytes, level, rows, entries: 0, columns, ids_start: start })
    }

    /// The number of entries, once every row is found to be possible.
    fn checked_rows(&self) -> Result<u64, &'static str> {
        let mut before: Option<Place> = None;
        let mut entries = 0_u64;
        for row in 0..self.rows {
            let place = self.place(row);
            if before.is_some_and(|before| before >= place) {
                return Err("its rows are not in order");
            }
            before = Some(place);
            if self.level == 0 {
                entries += 1;
                continue;
            }
            let (below, children) = (self.value(2, row).cast_unsigned(), self.value(3, row).cast_unsigned());
            if below == 0 || (children == 0) != (self.level == 1) || children > below {
                return Err("a child has an impossible size");
            }
            entries = entries.checked_add(below).ok_or("it has too many entries")?;
        }
        Ok(entries)
    }

    #[inline]
    fn place(&self, row: usize) -> Place {
        Place::new(TypeSn(self.value(0, row)), KeySn(self.value(1, row)))
    }

    #[inline]
    fn value(&self, column: usize, row: usize) -> i64 {
        self.columns.get(column).map_or(0, |column| column.value(&self.bytes, row))
    }
}

const fn column_count(level: u8) -> usize {
    if level == 0 { 3 } else { 4 }
}
