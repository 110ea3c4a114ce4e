use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use config::{Config, DatabaseEngine};

use crate::StartError;

/// Makes the directories of everything that the server owns, for this user alone. Existing ones stay as they are.
pub(crate) fn prepare(config: &Config) -> Result<(), StartError> {
    create(&config.server.data_dir)?;
    create(parent(&config.signing_key_path()))?;
    let database = config.database_url();
    if database.engine() == DatabaseEngine::Sqlite {
        let path = PathBuf::from(database.reveal().trim_start_matches("sqlite://"));
        create(parent(&path))?;
    }
    Ok(())
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new(""))
}

fn create(path: &Path) -> Result<(), StartError> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|error| StartError::Directory { path: path.to_owned(), error })
}
