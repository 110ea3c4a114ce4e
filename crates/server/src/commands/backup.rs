use std::path::PathBuf;

use clap::Args;

use super::{CommandResult, load, print};
use crate::backup::{Copied, back_up};

/// Copy everything that the server owns into a new directory, also while it runs.
///
/// A SQLite database, the signing key, and the media. The configuration is not in it. On PostgreSQL the database is backed up
/// with `pg_dump`, before this.
#[derive(Args)]
pub(super) struct BackupCommand {
    /// A directory that does not exist yet.
    target: PathBuf,
    /// Leave the database out: it is on PostgreSQL, and was backed up before.
    #[arg(long)]
    without_database: bool,
}

pub(super) fn run(command: &BackupCommand, file: Option<PathBuf>) -> CommandResult {
    let config = load(file.as_ref())?.config;
    let Copied { has_database, media_files } = back_up(&config, &command.target, !command.without_database)?;
    let database = if has_database { "the database, " } else { "" };
    let target = command.target.display();
    print(&format!("Backed up to {target}: {database}the signing key, {media_files} files of media\n"))
}
