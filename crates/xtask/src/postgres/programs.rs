//! Finds PostgreSQL's server programs, and installs them where that is ours to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::{Supervisor, text};

const INSTALL_LIMIT: Duration = Duration::from_secs(10 * 60);

const INSTALL: [&[&str]; 2] =
    [&["apt-get", "update"], &["apt-get", "install", "--yes", "--no-install-recommends", "postgresql"]];

/// What must be there for a folder to count.
const PROGRAMS: [&str; 6] = ["initdb", "postgres", "pg_ctl", "pg_isready", "pg_dump", "pg_restore"];

/// Where Debian puts the programs, one folder a version; they are not in the path there.
const DEBIAN_VERSIONS: &str = "/usr/lib/postgresql";

/// The folder of `initdb` and `postgres`, the newest when there are several. Installs the distribution's package
/// when there is none and we are root on a system with `apt-get`.
pub(crate) fn find_or_install(supervisor: &Supervisor) -> Result<PathBuf> {
    if let Some(folder) = find() {
        return Ok(folder);
    }
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/apt-get").exists() {
        bail!("the tests need PostgreSQL's server programs: install them (Debian: `sudo apt-get install postgresql`)");
    }
    for words in INSTALL {
        let (program, arguments) = words.split_first().unwrap_or((&"", &[]));
        let mut command = Command::new(program);
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        if !supervisor.run(&mut command, INSTALL_LIMIT)?.success() {
            bail!("the tests need PostgreSQL's server programs, and `{}` failed", text(&command));
        }
    }
    match find() {
        Some(folder) => Ok(folder),
        None => bail!("the package postgresql was installed, but there is no initdb under {DEBIAN_VERSIONS}"),
    }
}

fn find() -> Option<PathBuf> {
    newest_under(Path::new(DEBIAN_VERSIONS)).or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|folder| is_complete(folder))
    })
}

fn newest_under(versions: &Path) -> Option<PathBuf> {
    let complete = fs::read_dir(versions).ok()?.flatten().filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let folder = entry.path().join("bin");
        is_complete(&folder).then_some((version, folder))
    });
    complete.max().map(|(_, folder)| folder)
}

fn is_complete(folder: &Path) -> bool {
    PROGRAMS.iter().all(|program| folder.join(program).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_complete_version_is_taken() {
        let versions = tempfile::tempdir().unwrap();
        for (version, programs) in [("9", &PROGRAMS[..]), ("15", &PROGRAMS), ("17", &["pg_ctl"]), ("backup", &PROGRAMS)]
        {
            let folder = versions.path().join(version).join("bin");
            fs::create_dir_all(&folder).unwrap();
            for program in programs {
                fs::write(folder.join(program), "").unwrap();
            }
        }
        assert_eq!(newest_under(versions.path()), Some(versions.path().join("15/bin")));
        assert_eq!(newest_under(&versions.path().join("absent")), None);
    }
}
