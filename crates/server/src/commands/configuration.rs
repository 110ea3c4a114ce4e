use std::path::PathBuf;

use clap::Subcommand;
use federation::transport::tls_config;

use super::{CommandResult, load, print};
use crate::{StartError, compose::Email, listen::Listening, runtime};

#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    /// Say whether the configuration can be used, certificates, authorities and templates included.
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
            let network = &loaded.config.network;
            tls_config(&network.trusted_ca, network.verify_tls).map_err(StartError::from)?;
            // In a runtime: what sends mail closes its idle connections in the background.
            runtime::build(1)?.block_on(async { Email::new(&loaded.config).map(drop) })?;
            print("The configuration is valid.\n")
        }
        ConfigCommand::Show => print(&load(file.as_ref())?.config.show()),
        ConfigCommand::Schema => print(&format!("{:#}\n", config::schema())),
        ConfigCommand::Generate => print(&config::generate()),
    }
}
