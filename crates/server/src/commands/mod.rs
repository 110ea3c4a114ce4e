//! The command line: `synapse-rust [--config FILE] [serve | config … | email … | room … | signing-key … | user … | backup … | health | …]`.

mod backup;
mod configuration;
mod email;
mod health;
mod packaging;
mod room;
mod serve;
mod signing_key;
mod user;

use std::{
    env,
    error::Error,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use config::Loaded;

use self::{
    backup::BackupCommand, configuration::ConfigCommand, email::EmailCommand, room::RoomCommand,
    signing_key::SigningKeyCommand, user::UserCommand,
};

/// A Matrix homeserver.
#[derive(Parser)]
#[command(name = "synapse-rust", version, about, max_term_width = 100)]
struct CommandLine {
    /// The configuration file; without one, the environment and the documented defaults hold.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server (the default).
    Serve,
    /// Check, show or describe the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Try whether this server can send e-mail.
    #[command(subcommand)]
    Email(EmailCommand),
    /// Check and repair the rooms of this server.
    #[command(subcommand)]
    Room(RoomCommand),
    /// Change the key that signs this server's events.
    #[command(subcommand)]
    SigningKey(SigningKeyCommand),
    /// Manage the accounts of this server.
    #[command(subcommand)]
    User(UserCommand),
    Backup(BackupCommand),
    /// Ask the running server whether it does its work.
    ///
    /// It is asked by the first listener that has the resource "health" and no TLS. Exits with code 1 if it does not.
    Health,
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages into a directory.
    Man {
        /// The directory.
        directory: PathBuf,
    },
}

/// A command that failed, with the sentence to show.
type CommandResult = Result<(), Box<dyn Error>>;

/// Runs the command line of this process. A failure is one line on standard error and exit code 1.
pub fn run() -> ExitCode {
    let line = CommandLine::parse();
    let done = match line.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(line.config),
        Command::Config(command) => configuration::run(command, line.config),
        Command::Email(command) => email::run(command, line.config),
        Command::Room(command) => room::run(command, line.config),
        Command::SigningKey(command) => signing_key::run(&command, line.config),
        Command::User(command) => user::run(command, line.config),
        Command::Backup(command) => backup::run(&command, line.config),
        Command::Health => health::run(line.config),
        Command::Completions { shell } => packaging::completions(shell),
        Command::Man { directory } => packaging::manual_pages(&directory),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is gone there is nobody left to tell.
            let _ = writeln!(io::stderr(), "synapse-rust: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Loads the configuration and checks what only other crates can: the log filter.
fn load(file: Option<&PathBuf>) -> Result<Loaded, config::Error> {
    let loaded = config::load(file.map(PathBuf::as_path), env::vars_os())?;
    let filter = &loaded.config.telemetry.log_filter;
    telemetry::check_filter(filter).map_err(|error| loaded.sources.error("telemetry.log_filter", error.to_string()))?;
    Ok(loaded)
}

/// Prints to standard output; a reader that closed it early, such as `head`, is no failure.
fn print(text: &str) -> CommandResult {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
