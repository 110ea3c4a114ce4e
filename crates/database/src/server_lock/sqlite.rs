use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::{POLL_INTERVAL, beside, in_use};
use crate::StorageError;

/// The longest process ID, in decimal digits.
const MAX_ID_BYTES: u64 = 20;

/// The lock of a file beside the database. The file stays: to remove it would take the lock away from a server that waits for it.
pub(super) struct SqliteLock(Mutex<Option<File>>);

impl SqliteLock {
    pub(super) async fn take(database: &Path, patience: Duration) -> Result<Self, StorageError> {
        let path = beside(&resolved(database));
        let unusable = |error: std::io::Error| {
            StorageError::Unavailable(format!("the lock file {} cannot be used: {error}", path.display()))
        };
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(unusable)?;
        let deadline = Instant::now() + patience;
        let mut has_told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Err(in_use(&holder(&mut file))),
                Err(TryLockError::WouldBlock) => {
                    if !has_told {
                        tracing::warn!("{} runs on this database: waiting for it to end", holder(&mut file));
                        has_told = true;
                    }
                    sleep(POLL_INTERVAL).await;
                }
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
        // Only for the sentence that refuses others: the lock holds whatever the file says.
        let _ = sign(&mut file);
        Ok(Self(Mutex::new(Some(file))))
    }

    pub(super) fn release(&self) {
        self.0.lock().take();
    }
}

/// The database's own path, so that one file has one lock, by whichever links it is reached.
fn resolved(database: &Path) -> PathBuf {
    if let Ok(path) = database.canonicalize() {
        return path;
    }
    // It does not exist yet; its folder does.
    let parent = database.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    match (parent.canonicalize(), database.file_name()) {
        (Ok(parent), Some(name)) => parent.join(name),
        _ => database.to_owned(),
    }
}

fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(MAX_ID_BYTES).read_to_string(&mut text));
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(id)) => format!("another server, the process {id},"),
        _ => "another server".to_owned(),
    }
}
