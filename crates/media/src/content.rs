//! Reading the bytes of media.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tokio::task::spawn_blocking;

use super::at_hand;

/// A content of at most this size is read when its file is opened: another visit to a thread would cost more than the copy.
const SMALL_BYTES: u64 = 128 << 10;
/// A larger content is read in pieces of this size. A client that reads slowly keeps one in memory.
const PIECE_BYTES: u64 = 256 << 10;

/// The bytes of media, in memory or in an open file.
#[derive(Debug)]
pub struct MediaBytes {
    size_bytes: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Whole(Bytes),
    File(Arc<File>),
}

/// A range of the bytes, as it is sent.
pub enum Part<S> {
    /// The bytes in one piece.
    Whole(Bytes),
    /// Piece by piece.
    Pieces(S),
}

impl MediaBytes {
    /// Opens a file that has this size. Blocks.
    pub(super) fn open(path: &Path, size_bytes: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let source = if size_bytes <= SMALL_BYTES {
            Source::Whole(read(&file, 0, size_bytes)?)
        } else {
            Source::File(Arc::new(file))
        };
        Ok(Self { size_bytes, source })
    }

    /// Opens a file that has this size, if it is in the page cache.
    pub(super) fn open_at_hand(path: &Path, size_bytes: u64) -> Option<Self> {
        let file = at_hand::open(path)?;
        let source = if size_bytes <= SMALL_BYTES {
            Source::Whole(at_hand::read(&file, 0, size_bytes)?)
        } else {
            Source::File(Arc::new(file))
        };
        Some(Self { size_bytes, source })
    }

    /// Bytes in memory.
    #[must_use]
    pub fn of(bytes: Bytes) -> Self {
        Self { size_bytes: bytes.len() as u64, source: Source::Whole(bytes) }
    }

    /// The number of bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// All bytes.
    pub fn into_whole(self) -> Part<impl Stream<Item = io::Result<Bytes>> + Send + 'static> {
        let size_bytes = self.size_bytes;
        self.into_part(0, size_bytes)
    }

    /// `length` bytes from `start`, or fewer at the end.
    pub fn into_part(self, start: u64, length: u64) -> Part<impl Stream<Item = io::Result<Bytes>> + Send + 'static> {
        let start = start.min(self.size_bytes);
        let end = start.saturating_add(length).min(self.size_bytes);
        match self.source {
            Source::Whole(bytes) => {
                // The bytes are in memory, so their number fits.
                let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
                Part::Whole(bytes.slice(at(start)..at(end)))
            }
            Source::File(file) => Part::Pieces(pieces(file, start, end)),
        }
    }
}

/// The bytes of a file between two positions. A piece that is not in the page cache is read on a thread that may block.
fn pieces(file: Arc<File>, start: u64, end: u64) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold((file, start), move |(file, at)| async move {
        if at >= end {
            return Ok(None);
        }
        let length = PIECE_BYTES.min(end - at);
        let piece = match at_hand::read(&file, at, length) {
            Some(piece) => piece,
            None => {
                let reading = file.clone();
                spawn_blocking(move || read(&reading, at, length)).await.map_err(io::Error::other)??
            }
        };
        Ok(Some((piece, (file, at + length))))
    })
    .fuse()
}

/// Exactly `length` bytes of a file from `start`.
fn read(mut file: &File, start: u64, length: u64) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    if start > 0 {
        file.seek(SeekFrom::Start(start))?;
    }
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file of media is shorter than it was"));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;

    use super::*;

    async fn bytes<S: Stream<Item = io::Result<Bytes>>>(part: Part<S>) -> io::Result<Vec<u8>> {
        match part {
            Part::Whole(bytes) => Ok(bytes.to_vec()),
            Part::Pieces(pieces) => {
                Box::pin(pieces)
                    .try_fold(Vec::new(), |all, piece| async move { Ok([all, piece.to_vec()].concat()) })
                    .await
            }
        }
    }

    #[tokio::test]
    async fn any_part_of_a_content_is_read_however_large_it_is() {
        for size in [0, 1, 1000, SMALL_BYTES, SMALL_BYTES + 1, 3 * PIECE_BYTES, 3 * PIECE_BYTES + 7] {
            let content: Vec<u8> =
                (0_u32..).take(usize::try_from(size).unwrap()).map(|number| (number % 251) as u8).collect();
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &content).unwrap();
            let open = || MediaBytes::open(file.path(), size).unwrap();
            assert_eq!(bytes(open().into_whole()).await.unwrap(), content, "{size}");
            if let Some(at_hand) = MediaBytes::open_at_hand(file.path(), size) {
                assert_eq!(bytes(at_hand.into_whole()).await.unwrap(), content, "{size}");
            }
            for (start, length) in [(0, 1), (1, 5), (size / 2, size), (size, 1), (size + 1, 1), (size / 3, u64::MAX)] {
                let expected: Vec<u8> = content
                    .iter()
                    .skip(usize::try_from(start).unwrap())
                    .take(usize::try_from(length.min(size)).unwrap())
                    .copied()
                    .collect();
                assert_eq!(
                    bytes(open().into_part(start, length)).await.unwrap(),
                    expected,
                    "{start} {length} of {size}"
                );
            }
        }
    }

    /// A file system without non-blocking reads gives nothing.
    #[test]
    fn a_read_from_the_page_cache_is_complete_or_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(MediaBytes::open_at_hand(&file.path().join("none"), 5).is_none());
        std::fs::write(file.path(), b"short").unwrap();
        let read = |start, length| at_hand::read(file.as_file(), start, length);
        assert!(read(1, 3).is_none_or(|bytes| *bytes == *b"hor"));
        assert_eq!((read(1, 5), read(5, 1)), (None, None), "there are no more than five");
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_is_an_error_and_no_shorter_content() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"short").unwrap();
        assert!(MediaBytes::open(file.path(), 6).is_err());
        assert!(MediaBytes::open_at_hand(file.path(), 6).is_none());
        let large = MediaBytes::open(file.path(), SMALL_BYTES + 1).unwrap();
        assert!(bytes(large.into_whole()).await.is_err());
    }
}
