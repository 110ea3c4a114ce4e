//! Copying a SQLite database while it is in use.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::StorageError;
use crate::options::{DatabaseOptions, Target};

/// How long to wait for another process that has the database for itself, as one that opens it may for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Copies the SQLite database at `url` into a new file at `target`, as it is at one moment: with everything that was
/// committed before the call, and with nothing in part. A server that reads and writes it meanwhile goes on. The copy has been
/// checked and is on stable storage when this returns.
///
/// # Errors
/// [`StorageError`] if the URL is not that of a SQLite file, or the database cannot be read, or the copy not be written.
pub fn back_up_sqlite(url: &str, target: &Path) -> Result<(), StorageError> {
    let Target::Sqlite(path) = DatabaseOptions::new(url).target()? else {
        return Err(StorageError::Url("only a SQLite file can be copied".to_owned()));
    };
    let unavailable = |what: &Path, error: String| StorageError::Unavailable(format!("{}: {error}", what.display()));
    // Not for reading alone, because readers too write into the index of the write-ahead log; and never a new file.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(&path, flags).map_err(|error| unavailable(&path, error.to_string()))?;
    source.busy_timeout(BUSY_TIMEOUT)?;
    let mut copy = Connection::open(target).map_err(|error| unavailable(target, error.to_string()))?;
    // All pages in one step, which is one reading transaction: in several, every write between them would restart it.
    match Backup::new(&source, &mut copy)?.step(-1)? {
        StepResult::Done => {}
        _ => return Err(unavailable(&path, "the database is in use".to_owned())),
    }
    check(&copy)?;
    copy.close().map_err(|(_, error)| error)?;
    let synced = File::open(target).and_then(|file| file.sync_all());
    synced.map_err(|error| unavailable(target, error.to_string()))
}

fn check(copy: &Connection) -> Result<(), StorageError> {
    let found: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(StorageError::Corrupt(found)) }
}
