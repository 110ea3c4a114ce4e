//! The two programs that are compared: `hot-paths` as it is in the working tree, and as it is in another revision.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::bench::{target_folder, workspace_folder};
use crate::process::{Supervisor, text};
use crate::suite;

const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);
const DRIVER: &str = "crates/hot-paths";

/// A checkout of another revision below the target folder, which goes when this is dropped. What was built from it
/// stays there, as everything that cargo builds does.
pub(crate) struct Checkout {
    workspace: PathBuf,
    folder: PathBuf,
    target: PathBuf,
}

impl Checkout {
    pub(crate) fn of(supervisor: &Supervisor, revision: &str) -> Result<Self> {
        let workspace = workspace_folder()?;
        let own = target_folder()?.join("compare");
        let checkout = Self { folder: own.join("revision"), target: own.join("target"), workspace };
        // What a run that was killed has left.
        checkout.remove();
        fs::create_dir_all(&own)?;
        let mut command = checkout.git();
        command.args(["worktree", "add", "--detach", "--force"]).arg(&checkout.folder).arg(revision);
        if !supervisor.run(&mut command, BUILD_LIMIT)?.success() {
            bail!("`{}` failed: is `{revision}` a revision?", text(&command));
        }
        Ok(checkout)
    }

    /// Builds the program of this revision.
    pub(crate) fn build(&self, supervisor: &Supervisor, profile: &str) -> Result<PathBuf> {
        let (own, current) = (self.folder.join(DRIVER), self.workspace.join(DRIVER));
        if !own.exists() {
            println!("the revision is older than {DRIVER}: it is measured with the one of the working tree");
            copy_folder(&current, &own)?;
        } else if !is_same(&own, &current)? {
            println!("{DRIVER} is not the same in both: paths whose work differs are not comparable");
        }
        build(supervisor, profile, &self.folder, &self.target)
    }

    fn git(&self) -> Command {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.workspace);
        command
    }

    fn remove(&self) {
        // Fails where there is none, which is what is wanted.
        let _ = self.git().args(["worktree", "remove", "--force"]).arg(&self.folder).output();
        let _ = fs::remove_dir_all(&self.folder);
        let _ = self.git().args(["worktree", "prune"]).output();
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Builds the program of the working tree.
pub(crate) fn of_working_tree(supervisor: &Supervisor, profile: &str) -> Result<PathBuf> {
    build(supervisor, profile, &workspace_folder()?, &target_folder()?)
}

/// A release is linked more quickly than a real one: both sides are, so they stay comparable.
fn build(supervisor: &Supervisor, profile: &str, folder: &Path, target: &Path) -> Result<PathBuf> {
    let mut command = suite::cargo();
    command.args(["build", "--profile", profile, "--package", "hot-paths"]).current_dir(folder);
    command.env("CARGO_TARGET_DIR", target).env("CARGO_PROFILE_RELEASE_LTO", "thin");
    if !supervisor.run(&mut command, BUILD_LIMIT)?.success() {
        bail!("hot-paths could not be built in {}", folder.display());
    }
    // The one profile whose folder has another name.
    let built = target.join(if profile == "dev" { "debug" } else { profile }).join("hot-paths");
    built.canonicalize().with_context(|| format!("there is no {}", built.display()))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> Result<bool> {
    for entry in fs::read_dir(one)? {
        let entry = entry?;
        let counterpart = other.join(entry.file_name());
        let same = match entry.file_type()?.is_dir() {
            true => counterpart.is_dir() && is_same(&entry.path(), &counterpart)?,
            false => fs::read(entry.path())? == fs::read(counterpart).unwrap_or_default(),
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(fs::read_dir(one)?.count() == fs::read_dir(other)?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_folder_is_the_same_until_something_in_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("below")).unwrap();
        fs::write(from.join("below/file"), "one").unwrap();
        copy_folder(&from, &to).unwrap();
        assert!(is_same(&from, &to).unwrap());
        fs::write(to.join("below/file"), "two").unwrap();
        assert!(!is_same(&from, &to).unwrap());
        fs::write(to.join("below/file"), "one").unwrap();
        fs::write(to.join("further"), "").unwrap();
        assert!(!is_same(&from, &to).unwrap());
    }
}
