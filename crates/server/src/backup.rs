//! A copy of everything that a server owns, made while it runs.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use config::{Config, DatabaseEngine};

/// The names inside a backup; those of a data directory with default settings.
const DATABASE: &str = "homeserver.db";
const SIGNING_KEY: &str = "signing.key";
const MEDIA: &str = "media";

/// Why there is no backup: one sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("{} is there already: a backup is made in a new directory", .0.display())]
    Exists(PathBuf),
    #[error(
        "the database is on PostgreSQL: back it up with `pg_dump` first, and then what lies beside it with \
         `synapse-rust backup --without-database`"
    )]
    NotOurs,
    #[error("cannot copy {} to {}: {error}", from.display(), to.display())]
    Copy { from: PathBuf, to: PathBuf, error: io::Error },
    #[error("cannot write {}: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error("the database {url}: {error}")]
    Database { url: config::DatabaseUrl, error: storage::StorageError },
}

/// What a backup contains.
pub(crate) struct Copied {
    pub(crate) has_database: bool,
    pub(crate) media_files: u64,
}

/// Copies database, signing key and media into the new directory `target`, which appears when all is there.
pub(crate) fn back_up(config: &Config, target: &Path, with_database: bool) -> Result<Copied, BackupError> {
    if with_database && config.database_url().engine() == DatabaseEngine::Postgres {
        return Err(BackupError::NotOurs);
    }
    if fs::symlink_metadata(target).is_ok() {
        return Err(BackupError::Exists(target.to_owned()));
    }
    let draft = beside(target);
    create(&draft)?;
    let copied = fill(config, &draft, with_database).and_then(|copied| {
        fs::rename(&draft, target).map_err(|error| BackupError::Write { path: target.to_owned(), error })?;
        sync(parent(target))?;
        Ok(copied)
    });
    if copied.is_err() {
        // The reason matters more than what cannot be cleaned up.
        let _ = fs::remove_dir_all(&draft);
    }
    copied
}

/// The database comes first: whatever it tells of, a file of media or a key, was there before and is copied after.
fn fill(config: &Config, draft: &Path, with_database: bool) -> Result<Copied, BackupError> {
    if with_database {
        let url = config.database_url();
        let copy = draft.join(DATABASE);
        storage::back_up_sqlite(url.reveal(), &copy).map_err(|error| BackupError::Database { url, error })?;
        let restricted = fs::set_permissions(&copy, Permissions::from_mode(0o600));
        restricted.map_err(|error| BackupError::Write { path: copy, error })?;
    }
    copy(&config.signing_key_path(), &draft.join(SIGNING_KEY))?;
    let media = config.media_path();
    let media_files = if media.is_dir() { copy_tree(&media, &draft.join(MEDIA))? } else { 0 };
    sync(draft)?;
    Ok(Copied { has_database: with_database, media_files })
}

/// Copies all files and directories, and nothing else that may lie there; the number of files.
fn copy_tree(from: &Path, to: &Path) -> Result<u64, BackupError> {
    let mut files = 0;
    let mut left = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = left.pop() {
        create(&to)?;
        let failed = |error| BackupError::Copy { from: from.clone(), to: to.clone(), error };
        for entry in fs::read_dir(&from).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            let pair = (entry.path(), to.join(entry.file_name()));
            if kind.is_dir() {
                left.push(pair);
            } else if kind.is_file() {
                match copy(&pair.0, &pair.1) {
                    // Removed after the directory was read, as the server may do.
                    Err(BackupError::Copy { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
                    copied => {
                        copied?;
                        files += 1;
                    }
                }
            }
        }
        sync(&to)?;
    }
    Ok(files)
}

fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    let copied = fs::copy(from, to).and_then(|_| File::open(to)?.sync_all());
    copied.map_err(|error| BackupError::Copy { from: from.to_owned(), to: to.to_owned(), error })
}

fn create(path: &Path) -> Result<(), BackupError> {
    DirBuilder::new().mode(0o700).create(path).map_err(|error| BackupError::Write { path: path.to_owned(), error })
}

fn sync(directory: &Path) -> Result<(), BackupError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| BackupError::Write { path: directory.to_owned(), error })
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn beside(target: &Path) -> PathBuf {
    let mut name = target.file_name().map_or_else(|| OsString::from("backup"), OsString::from);
    name.push(".partial");
    target.with_file_name(name)
}
