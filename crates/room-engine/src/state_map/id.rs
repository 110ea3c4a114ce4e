use std::{
    fmt,
    hash::{Hash, Hasher},
};

use homeserver_core::HeapSize;
use sha2::{Digest, Sha256};

/// The name of a chunk: the first 20 bytes of the SHA-256 of its bytes.
///
/// That is enough against collisions that somebody looks for (2^80 attempts, with contents that nobody outside can
/// choose: numbers that this server gave out), and every byte of an ID is in each branch once for each child.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkId([u8; Self::BYTES]);

impl HeapSize for ChunkId {
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl ChunkId {
    /// Bytes of an ID.
    pub const BYTES: usize = 20;

    /// The root of the map without entries, for which no chunk is stored.
    pub const EMPTY: Self = Self([0; Self::BYTES]);

    /// The last of all possible IDs.
    pub const LAST: Self = Self([0xff; Self::BYTES]);

    /// The ID of the chunk that consists of these bytes.
    pub fn of(chunk: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(chunk).into();
        digest.first_chunk().map_or(Self::EMPTY, |id| Self(*id))
    }

    /// The bytes, as they are stored.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// An ID is a hash already; a part of it is enough for a table.
impl Hash for ChunkId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.first_chunk().map_or(0, |start| u64::from_le_bytes(*start)));
    }
}

impl From<[u8; ChunkId::BYTES]> for ChunkId {
    fn from(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkId({self})")
    }
}
