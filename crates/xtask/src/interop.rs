//! `cargo xtask interop`: this server and Synapse, with people on both. Installs Synapse into a virtual environment below the target
//! directory the first time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::postgres::Cluster;
use crate::process::{Supervisor, text};
use crate::suite::cargo;

/// The version that the scenarios were last tried with.
const SYNAPSE: &str = "matrix-synapse==1.163.2";
/// Installing it compiles nothing, but fetches some 60 packages.
const INSTALL_LIMIT: Duration = Duration::from_secs(15 * 60);
const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);
const RUN_LIMIT: Duration = Duration::from_secs(60 * 60);

/// Plays the scenarios, on SQLite and then on PostgreSQL. `arguments` are those of the program `interop`: scenarios and versions.
pub(crate) fn run(supervisor: &Supervisor, arguments: &[String]) -> Result<bool> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let python = with_synapse(supervisor, &target.join("interop"))?;
    let mut build = cargo();
    build.args(["build", "--package", "synapse-rust", "--package", "interop"]);
    must(supervisor, &mut build, BUILD_LIMIT)?;
    let programs = target.join("debug");
    let play = |database: Option<&str>| {
        let mut command = Command::new(programs.join("interop"));
        command.arg("--server").arg(programs.join("synapse-rust")).arg("--python").arg(&python);
        command.args(database.map(|url| ["--database", url]).into_iter().flatten()).args(arguments);
        Ok::<_, anyhow::Error>(supervisor.run(&mut command, RUN_LIMIT)?.success())
    };
    println!("with SQLite:");
    let with_sqlite = play(None)?;
    println!("with PostgreSQL:");
    let cluster = Cluster::start(supervisor)?;
    Ok(play(Some(&cluster.address()))? && with_sqlite)
}

/// A Python that has Synapse.
fn with_synapse(supervisor: &Supervisor, folder: &Path) -> Result<PathBuf> {
    let python = folder.join("bin").join("python");
    let mark = folder.join("installed");
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == SYNAPSE) {
        return Ok(python);
    }
    must(supervisor, Command::new("python3").args(["-m", "venv"]).arg(folder), INSTALL_LIMIT)
        .context("Synapse needs Python 3.9 or newer with its module venv (Debian: python3-venv)")?;
    must(supervisor, Command::new(&python).args(["-m", "pip", "install", "--quiet", SYNAPSE]), INSTALL_LIMIT)?;
    fs::write(mark, SYNAPSE)?;
    Ok(python)
}

fn must(supervisor: &Supervisor, command: &mut Command, limit: Duration) -> Result<()> {
    let status = supervisor.run(command, limit)?;
    if !status.success() {
        bail!("`{}` failed", text(command));
    }
    Ok(())
}
