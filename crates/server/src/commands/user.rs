use std::{
    io::{self, Read as _},
    path::PathBuf,
};

use clap::Subcommand;
use homeserver_core::random_string;

use super::{CommandResult, load, print};
use crate::{compose, data_dir, runtime};

/// More than any password that the server accepts.
const MAX_INPUT_BYTES: u64 = 64 << 10;
/// About 143 bits of entropy.
const GENERATED_PASSWORD_CHARS: usize = 24;

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Make an account on this server.
    Create {
        /// The part of the user ID before the colon.
        #[arg(long)]
        name: String,
        /// Make it an administrator.
        #[arg(long)]
        admin: bool,
        /// Read the password from standard input, up to the end of the line; otherwise one is made and printed.
        #[arg(long)]
        password_stdin: bool,
    },
}

pub(super) fn run(command: UserCommand, file: Option<PathBuf>) -> CommandResult {
    let UserCommand::Create { name, admin, password_stdin } = command;
    let config = load(file.as_ref())?.config;
    let given = if password_stdin { Some(password_from_input()?) } else { None };
    let generated = if given.is_none() { Some(random_string(GENERATED_PASSWORD_CHARS)) } else { None };
    // One worker suffices for one account.
    let user_id = runtime::build(1)?.block_on(async {
        data_dir::prepare(&config)?;
        let (registration, database) = compose::registration(&config).await?;
        let created = registration.create_user(&name, given.or_else(|| generated.clone()), admin).await;
        database.close().await;
        Ok::<_, Box<dyn std::error::Error>>(created?)
    })?;
    match generated {
        Some(password) => print(&format!("Created {user_id} with the password {password}\n")),
        None => print(&format!("Created {user_id}\n")),
    }
}

fn password_from_input() -> Result<String, io::Error> {
    let mut text = String::new();
    io::stdin().take(MAX_INPUT_BYTES).read_to_string(&mut text)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
