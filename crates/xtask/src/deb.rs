//! `cargo xtask deb`: a Debian package of the server, by `cargo deb` and what `crates/server/Cargo.toml` says to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{Supervisor, text};
use crate::suite;

const LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// Of each shell, the name under which it finds the completions.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "synapse-rust"), ("zsh", "_synapse-rust"), ("fish", "synapse-rust.fish")];

/// Builds the program, has it write its manual pages and completions, and packs them.
pub(crate) fn run(supervisor: &Supervisor) -> Result<bool> {
    succeeds(supervisor, suite::cargo().args(["build", "--release", "--locked", "--package", "synapse-rust"]))?;
    let release = target_directory().join("release");
    let program = release.join("synapse-rust");
    let package = release.join("package");
    succeeds(supervisor, Command::new(&program).arg("man").arg(package.join("man1")))?;
    for (shell, name) in COMPLETIONS {
        write_completions(&program, shell, &package.join(name))?;
    }
    succeeds(supervisor, suite::cargo().args(["deb", "--no-build", "--locked", "--package", "synapse-rust"]))?;
    Ok(true)
}

fn write_completions(program: &Path, shell: &str, file: &Path) -> Result<()> {
    let mut command = Command::new(program);
    command.args(["completions", shell]);
    let output = command.output().with_context(|| format!("cannot start `{}`", text(&command)))?;
    if !output.status.success() {
        bail!("`{}` failed", text(&command));
    }
    fs::write(file, output.stdout).with_context(|| format!("cannot write {}", file.display()))
}

fn succeeds(supervisor: &Supervisor, command: &mut Command) -> Result<()> {
    if supervisor.run(command, LIMIT)?.success() { Ok(()) } else { bail!("`{}` failed", text(command)) }
}

fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}
