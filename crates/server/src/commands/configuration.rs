use std::path::PathBuf;

use clap::Subcommand;

use super::{CommandResult, load, print};
use crate::{email::Email, listen::Listening};

#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    /// Say whether the configuration can be used, certificates and templates included.
    Check,
    /// Print the effective configuration, secrets redacted.
    Show,
    /// Print the JSON Schema of the configuration file.
    Schema,
    /// Print a configuration file with every key, its documentation and its default.
    Generate,
}

pub(super) fn run(command: ConfigCommand, file: Option<PathBuf>) -> CommandResult {
    match command {
        ConfigCommand::Check => {
            let loaded = load(file.as_ref())?;
            Listening::certificates(&loaded.config, &loaded.sources)?;
            Email::new(&loaded.config)?;
            print("The configuration is valid.\n")
        }
        ConfigCommand::Show => print(&load(file.as_ref())?.config.show()),
        ConfigCommand::Schema => print(&format!("{:#}\n", config::schema())),
        ConfigCommand::Generate => print(&config::generate()),
    }
}
