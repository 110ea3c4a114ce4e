//! Who PostgreSQL's programs run as.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// The account of PostgreSQL's programs, which refuse to run as root.
pub(crate) enum Account {
    /// Whoever started us.
    Own,
    /// The account that the distribution's package makes.
    Postgres { user: u32, group: u32 },
}

impl Account {
    /// Ours, unless we are root.
    pub(crate) fn choose() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let (user, group) = find(&passwd, "postgres").context(
            "PostgreSQL does not run as root, and there is no user `postgres`: make one, or run as another user",
        )?;
        Ok(Self::Postgres { user, group })
    }

    /// Gives `path` to this account.
    pub(crate) fn own(&self, path: &Path) -> Result<()> {
        let Self::Postgres { user, group } = self else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(*user), Some(*group))
            .with_context(|| format!("cannot give {} to the user postgres", path.display()))
    }

    /// A command that runs `program` as this account.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let Self::Postgres { user, group } = self else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={user}"), format!("--regid={group}")]);
        // When we are killed without a chance to clean up, the kernel tells the server to stop.
        command.args(["--clear-groups", "--pdeathsig", "INT"]).arg(program);
        command
    }
}

fn find(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:8::/:/bin/sh\npostgres:x:101:104:,,,:/var/lib:/bin/sh\n";
        assert_eq!(find(passwd, "postgres"), Some((101, 104)));
        assert_eq!(find(passwd, "post"), None);
    }
}
