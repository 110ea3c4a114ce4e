use std::{
    error::Error,
    io::{self, Read as _},
    path::PathBuf,
};

use accounts::Listed;
use clap::{Args, Subcommand};
use config::Config;
use homeserver_core::random_string;

use super::{CommandResult, load, print};
use crate::{compose, compose::AccountCommands, data_dir, runtime};

/// More than any password that the server accepts.
const MAX_INPUT_BYTES: u64 = 64 << 10;
/// About 143 bits of entropy.
const GENERATED_PASSWORD_CHARS: usize = 24;

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Make an account on this server.
    Create {
        #[command(flatten)]
        user: UserName,
        /// Make it an administrator.
        #[arg(long)]
        admin: bool,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Print the users of this server, in the order of their registration, one a line.
    ///
    /// Behind the user ID and a tab: admin, guest, deactivated, as it applies.
    List,
    /// Give a user another password, and end all of the user's sessions.
    Password {
        #[command(flatten)]
        user: UserName,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Make a user an administrator of this server.
    Promote {
        #[command(flatten)]
        user: UserName,
    },
    /// Make an administrator an ordinary user.
    Demote {
        #[command(flatten)]
        user: UserName,
    },
    /// Close an account for good, and end all of its sessions. Nobody can have its user ID again.
    ///
    /// The user leaves all rooms as soon as the server runs.
    Deactivate {
        #[command(flatten)]
        user: UserName,
        /// Remove what the server keeps for the user, too: profile, account data, filters, names of files.
        #[arg(long)]
        erase: bool,
    },
}

#[derive(Args)]
pub(super) struct UserName {
    /// The part of the user ID before the colon, or the whole user ID.
    #[arg(long)]
    name: String,
}

#[derive(Args)]
pub(super) struct PasswordSource {
    /// Read the password from standard input, up to the end of the line; otherwise one is made and printed.
    #[arg(long)]
    password_stdin: bool,
}

impl PasswordSource {
    /// The password, and whether it was made here.
    fn read(&self) -> Result<(String, bool), io::Error> {
        if !self.password_stdin {
            return Ok((random_string(GENERATED_PASSWORD_CHARS), true));
        }
        let mut text = String::new();
        io::stdin().take(MAX_INPUT_BYTES).read_to_string(&mut text)?;
        Ok((text.lines().next().unwrap_or_default().to_owned(), false))
    }
}

/// A server that runs on the same database notices within a second or so.
pub(super) fn run(command: UserCommand, file: Option<PathBuf>) -> CommandResult {
    let config = load(file.as_ref())?.config;
    match command {
        UserCommand::Create { user: UserName { name }, admin, password } => {
            let (password, is_made) = password.read()?;
            let given = Some(password.clone());
            let created = async |it: &AccountCommands| Ok(it.registration.create_user(&name, given, admin).await?);
            let user_id = with(&config, created)?;
            let told = if is_made { format!(" with the password {password}") } else { String::new() };
            print(&format!("Created {user_id}{told}\n"))
        }
        UserCommand::List => list(&config),
        UserCommand::Password { user: UserName { name }, password } => {
            let (password, is_made) = password.read()?;
            let changed = async |it: &AccountCommands| Ok(it.accounts.set_password(&name, &password).await?);
            let user_id = with(&config, changed)?;
            let told = if is_made { format!(" to {password}") } else { String::new() };
            print(&format!("Changed the password of {user_id}{told}\n"))
        }
        UserCommand::Promote { user: UserName { name } } => {
            let promoted = async |it: &AccountCommands| Ok(it.accounts.set_admin(&name, true).await?);
            let user_id = with(&config, promoted)?;
            print(&format!("{user_id} is an administrator now\n"))
        }
        UserCommand::Demote { user: UserName { name } } => {
            let demoted = async |it: &AccountCommands| Ok(it.accounts.set_admin(&name, false).await?);
            let user_id = with(&config, demoted)?;
            print(&format!("{user_id} is an ordinary user now\n"))
        }
        UserCommand::Deactivate { user: UserName { name }, erase } => {
            let closed = async |it: &AccountCommands| Ok(it.accounts.deactivate_by_name(&name, erase).await?);
            let user_id = with(&config, closed)?;
            print(&format!("Deactivated {user_id}\n"))
        }
    }
}

/// Prints a page of users at a time, however many there are.
fn list(config: &Config) -> CommandResult {
    with(config, async |it: &AccountCommands| {
        let mut after = None;
        loop {
            let page = it.accounts.list(after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.user_sn);
            print(&page.iter().map(line).collect::<String>())?;
        }
    })
}

fn line(user: &Listed) -> String {
    let words = [(user.is_admin, "admin"), (user.is_guest, "guest"), (user.is_deactivated, "deactivated")];
    let words: Vec<_> = words.into_iter().filter(|(applies, _)| *applies).map(|(_, word)| word).collect();
    let separator = if words.is_empty() { "" } else { "\t" };
    format!("{}{separator}{}\n", user.user_id, words.join(" "))
}

/// Does something with the accounts, without a server around it.
fn with<T>(
    config: &Config,
    work: impl AsyncFnOnce(&AccountCommands) -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    // One worker suffices for one account.
    runtime::build(1)?.block_on(async {
        data_dir::prepare(config)?;
        let commands = compose::account_commands(config).await?;
        let done = work(&commands).await;
        commands.database.close().await;
        done
    })
}
