use std::{io, path::Path};

/// The space on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// What this process may still use.
    pub available_bytes: u64,
    /// All of it.
    pub size_bytes: u64,
}

impl DiskSpace {
    /// The space on the disk that `path` is on.
    ///
    /// # Errors
    ///
    /// When the system does not know.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Self {
            available_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            size_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::DiskSpace;

    #[test]
    fn a_directory_is_on_a_disk_and_a_place_that_is_none_is_an_error() {
        let space = DiskSpace::of(Path::new("/")).unwrap();
        assert!(space.available_bytes <= space.size_bytes && space.size_bytes > 0, "{space:?}");
        assert!(DiskSpace::of(Path::new("/nowhere/at/all")).is_err());
    }
}
