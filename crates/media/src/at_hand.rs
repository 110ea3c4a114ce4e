//! Reading files from the page cache, which does not block, so that no other thread is needed.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;

/// Opens a file if that needs no access to the disk. `None` does not mean that there is no file.
#[cfg(target_os = "linux")]
pub(super) fn open(path: &Path) -> Option<File> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok().map(File::from)
}

/// `length` bytes of a file from `start`, if all of them are in the page cache.
#[cfg(target_os = "linux")]
pub(super) fn read(file: &File, start: u64, length: u64) -> Option<Bytes> {
    use rustix::io::{ReadWriteFlags, preadv2};
    use std::io::IoSliceMut;

    let mut bytes = vec![0; usize::try_from(length).ok()?];
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        let from = start + u64::try_from(at).ok()?;
        match preadv2(file, &mut [IoSliceMut::new(rest)], from, ReadWriteFlags::NOWAIT) {
            Ok(0) | Err(_) => return None,
            Ok(read) => at += read,
        }
    }
    Some(bytes.into())
}

/// Other systems have no such call.
#[cfg(not(target_os = "linux"))]
pub(super) const fn open(_: &Path) -> Option<File> {
    None
}

/// Other systems have no such call.
#[cfg(not(target_os = "linux"))]
pub(super) const fn read(_: &File, _: u64, _: u64) -> Option<Bytes> {
    None
}
