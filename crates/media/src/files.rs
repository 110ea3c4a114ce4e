//! The files of media. Each has a random name, so that no client chooses where a file is written.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use homeserver_core::random_string;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt as _;
use tokio::task::spawn_blocking;

use super::MediaBytes;

/// The length of file names: long enough that no two are equal.
const NAME_LENGTH: usize = 32;
/// The folder of files that are not complete.
const INCOMING: &str = "incoming";

/// A folder of files. Several nodes may share it.
#[derive(Clone, Debug)]
pub struct MediaFiles {
    folder: PathBuf,
}

/// A file that is being written. It is removed if it is dropped before it is kept.
pub(super) struct PartialFile {
    name: String,
    written: Written,
    file: File,
    size_bytes: u64,
}

/// The path of a partial file, until it is kept.
struct Written(Option<PathBuf>);

/// A complete file.
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) size_bytes: u64,
}

impl MediaFiles {
    /// Files in `folder`, which is created with the first file.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Begins a file.
    pub(super) async fn begin(&self) -> io::Result<PartialFile> {
        let name = random_string(NAME_LENGTH);
        let incoming = self.folder.join(INCOMING);
        fs::create_dir_all(&incoming).await?;
        let path = incoming.join(&name);
        let file = File::create_new(&path).await?;
        Ok(PartialFile { name, written: Written(Some(path)), file, size_bytes: 0 })
    }

    /// Keeps what was written: it survives a power loss from now on.
    pub(super) async fn keep(&self, partial: PartialFile) -> io::Result<Kept> {
        let PartialFile { name, mut written, mut file, size_bytes } = partial;
        file.flush().await?;
        file.sync_all().await?;
        let path = self.path(&name)?;
        let folder = path.parent().unwrap_or(&self.folder).to_owned();
        fs::create_dir_all(&folder).await?;
        if let Some(partial) = &written.0 {
            fs::rename(partial, &path).await?;
        }
        // The file is here now, and is removed if a later step fails.
        written.0 = Some(path);
        // The entries of the file and of new folders must be on the disk too.
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(&self.folder)) {
            File::open(folder).await?.sync_all().await?;
        }
        written.0 = None;
        Ok(Kept { name, size_bytes })
    }

    /// Opens a file of this size.
    pub(super) async fn open(&self, name: &str, size_bytes: u64) -> io::Result<MediaBytes> {
        let path = self.path(name)?;
        if let Some(content) = MediaBytes::open_at_hand(&path, size_bytes) {
            return Ok(content);
        }
        spawn_blocking(move || MediaBytes::open(&path, size_bytes)).await.map_err(io::Error::other)?
    }

    /// Removes a file that nothing refers to. A failure is logged, and the file only takes space.
    pub(super) async fn remove(&self, name: &str) {
        let removed = match self.path(name) {
            Ok(path) => fs::remove_file(path).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = name, %error, "a file of media could not be removed");
        }
    }

    /// The path of a file: two levels of 3,844 folders each keep the folders small.
    pub(super) fn path(&self, name: &str) -> io::Result<PathBuf> {
        let is_name = name.len() == NAME_LENGTH && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let parts = name.get(..2).zip(name.get(2..4)).filter(|_| is_name);
        let (first, second) = parts.ok_or_else(|| io::Error::other("not the name of a file of media"))?;
        Ok(self.folder.join(first).join(second).join(name))
    }

    /// Removes partial files older than `age`, which a killed server left.
    pub(crate) async fn remove_abandoned(&self, age: Duration) -> io::Result<u64> {
        let mut removed = 0;
        let mut entries = match fs::read_dir(self.folder.join(INCOMING)).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        while let Some(entry) = entries.next_entry().await? {
            // Another node may have finished it in the meantime.
            let Ok(modified) = entry.metadata().await.and_then(|metadata| metadata.modified()) else { continue };
            let is_old = SystemTime::now().duration_since(modified).is_ok_and(|passed| passed > age);
            if is_old && fs::remove_file(entry.path()).await.is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }
}

impl PartialFile {
    /// The bytes written so far.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Appends bytes.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.size_bytes += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            remove_now(path);
        }
    }
}

/// Removes a file in `drop`, which cannot wait.
fn remove_now(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "an unfinished file of media could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    #[tokio::test]
    async fn a_file_is_there_once_it_is_kept_and_gone_if_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let media = MediaFiles::new(folder.path().join("media"));
        let mut draft = media.begin().await.unwrap();
        draft.write(b"a pic").await.unwrap();
        draft.write(b"ture").await.unwrap();
        let kept = media.keep(draft).await.unwrap();
        assert_eq!(kept.size_bytes, 9);
        let path = media.path(&kept.name).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"a picture");

        let mut draft = media.begin().await.unwrap();
        draft.write(b"half of it").await.unwrap();
        assert_eq!(files(folder.path()).len(), 2);
        drop(draft);
        assert_eq!(files(folder.path()), [path]);
        media.remove(&kept.name).await;
        media.remove(&kept.name).await;
        assert!(files(folder.path()).is_empty());
    }

    #[tokio::test]
    async fn partial_files_of_a_killed_server_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let media = MediaFiles::new(folder.path().to_owned());
        assert_eq!(media.remove_abandoned(Duration::ZERO).await.unwrap(), 0);
        let mut draft = media.begin().await.unwrap();
        draft.write(b"half of it").await.unwrap();
        std::mem::forget(draft);
        assert_eq!(media.remove_abandoned(Duration::from_secs(3600)).await.unwrap(), 0);
        assert_eq!(media.remove_abandoned(Duration::ZERO).await.unwrap(), 1);
        assert!(files(folder.path()).is_empty());
    }

    #[tokio::test]
    async fn only_names_of_files_have_a_path() {
        let media = MediaFiles::new(PathBuf::from("/nowhere"));
        for name in
            ["", "a", "../../../../../../../../../etc/pass", "/etc/passwd/etc/passwd/etc/passw", &"ä".repeat(16)]
        {
            assert!(media.path(name).is_err(), "{name}");
        }
    }
}
