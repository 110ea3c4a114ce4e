use std::path::PathBuf;

use clap::Subcommand;
use homeserver_core::SystemClock;

use super::{CommandResult, load, print};
use crate::{compose, data_dir, identity, runtime};

#[derive(Subcommand)]
pub(super) enum SigningKeyCommand {
    /// Make a new key that signs this server's events from now on.
    ///
    /// The former one stays published, so that what it has signed stays valid; its file is kept. Also for a key that is lost. The
    /// server must not run.
    Rotate,
    /// Have the key sign from now on that is in the file.
    ///
    /// The former one stays published. The server must not run.
    Accept,
}

pub(super) fn run(command: &SigningKeyCommand, file: Option<PathBuf>) -> CommandResult {
    let config = load(file.as_ref())?.config;
    // One worker suffices for one key.
    let done = runtime::build(1)?.block_on(async {
        data_dir::prepare(&config)?;
        let (database, lock) = compose::keys(&config).await?;
        let done = match command {
            SigningKeyCommand::Rotate => identity::rotate(&config, &database, &SystemClock).await.map(rotated),
            SigningKeyCommand::Accept => {
                let accepted = identity::accept(&config, &database, &SystemClock).await;
                accepted.map(|key_id| format!("{key_id} signs this server's events from now on.\n"))
            }
        };
        database.close().await;
        lock.release();
        done
    })?;
    print(&done)
}

fn rotated((former, key_id): (Option<String>, String)) -> String {
    let former = former.map_or_else(String::new, |former| format!(" {former} stays published as an old key."));
    format!("{key_id} signs this server's events from now on.{former}\n")
}
