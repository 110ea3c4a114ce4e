//! What a package of the program brings along, made from the command line itself so that it cannot differ from it.

use std::{fs, path::Path};

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use super::{CommandLine, CommandResult, print};

/// Prints the completions of one shell.
pub(super) fn completions(shell: Shell) -> CommandResult {
    let mut command = CommandLine::command();
    let name = command.get_name().to_owned();
    // Not to the output at once: a reader that has gone is no failure.
    let mut text = Vec::new();
    generate(shell, &mut command, name, &mut text);
    print(&String::from_utf8_lossy(&text))
}

/// Writes the manual pages of the program and of each command into `directory`.
pub(super) fn manual_pages(directory: &Path) -> CommandResult {
    let failed = |error| format!("cannot write into {}: {error}", directory.display());
    fs::create_dir_all(directory).map_err(failed)?;
    let command = CommandLine::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, directory).map_err(failed)?;
    Ok(())
}
