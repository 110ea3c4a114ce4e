//! `cargo xtask bench`: every benchmark of the workspace.

use std::time::Duration;

use anyhow::Result;

use crate::process::Supervisor;
use crate::suite;

const LIMIT: Duration = Duration::from_secs(4 * 60 * 60);

/// Runs `cargo bench` on the whole workspace; `arguments` go to it as they are.
pub(crate) fn run(supervisor: &Supervisor, arguments: &[String]) -> Result<bool> {
    let mut command = suite::cargo();
    command.args(["bench", "--workspace"]);
    // Without a name, cargo also runs the libraries' unit tests as benchmarks, and those refuse criterion's options.
    if !arguments.iter().any(|argument| argument.starts_with("--bench")) {
        command.args(["--bench", "*"]);
    }
    Ok(supervisor.run(command.args(arguments), LIMIT)?.success())
}
