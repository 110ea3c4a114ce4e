//! One PostgreSQL server on a free port, in a folder that goes with it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::account::Account;
use super::programs;
use crate::process::{Supervisor, text};

const START_LIMIT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const PORT_ATTEMPTS: u32 = 5;

/// Not durable, because the cluster is thrown away: the tests kill our own program, never the database server.
const SETTINGS: [&str; 6] = [
    "fsync=off",
    "full_page_writes=off",
    "max_connections=400",
    "max_wal_senders=0",
    "wal_level=minimal",
    "unix_socket_directories=",
];

/// A running server; dropping it stops the server and removes its folder.
pub(crate) struct Cluster {
    account: Account,
    programs: PathBuf,
    server: Child,
    port: u16,
    folder: TempDir,
}

impl Cluster {
    /// Makes a new cluster and starts it on a port of 127.0.0.1 that nobody uses.
    pub(crate) fn start(supervisor: &Supervisor) -> Result<Self> {
        let programs = programs::find_or_install(supervisor)?;
        supervisor.check()?;
        let account = Account::choose()?;
        let folder = tempfile::Builder::new().prefix("synapse-rust-postgres-").tempdir()?;
        account.own(folder.path())?;
        initialise(&account, &programs, folder.path())?;

        for _ in 0..PORT_ATTEMPTS {
            supervisor.check()?;
            let port = free_port()?;
            if let Some(server) = serve(&account, &programs, folder.path(), port)? {
                return Ok(Self { account, programs, server, port, folder });
            }
        }
        bail!("PostgreSQL did not start: {}", last_lines_of_log(folder.path()))
    }

    /// The URL of the server's own database, as its superuser.
    pub(crate) fn address(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The folder of PostgreSQL's programs.
    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut stop = self.account.command(&self.programs.join("pg_ctl"));
        stop.args(["stop", "--mode=immediate", "--silent", "--pgdata"]).arg(cluster_folder(self.folder.path()));
        stop.current_dir(self.folder.path());
        let stopped = stop.status().is_ok_and(|status| status.success());
        // What remains to be tried when even that failed; an error means that the server is gone.
        if !stopped {
            let _ = self.server.kill();
        }
        let _ = self.server.wait();
    }
}

fn initialise(account: &Account, programs: &Path, folder: &Path) -> Result<()> {
    let mut command = account.command(&programs.join("initdb"));
    command.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync", "--pgdata"]);
    let output = command.arg(cluster_folder(folder)).current_dir(folder).output();
    let output = output.with_context(|| format!("cannot start `{}`", text(&command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", text(&command), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Starts the server and waits until it answers; `None` when it ended by itself, as it does when somebody else
/// took the port in between.
fn serve(account: &Account, programs: &Path, folder: &Path, port: u16) -> Result<Option<Child>> {
    let log = File::create(log_file(folder))?;
    let mut command = account.command(&programs.join("postgres"));
    command.arg("-D").arg(cluster_folder(folder)).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // A group of its own: Ctrl-C must end the tests first, then the server.
    let mut server = command.process_group(0).spawn().with_context(|| format!("cannot start `{}`", text(&command)))?;

    let deadline = Instant::now() + START_LIMIT;
    while Instant::now() < deadline {
        if server.try_wait()?.is_some() {
            return Ok(None);
        }
        if answers(programs, port)? {
            return Ok(Some(server));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    server.kill()?;
    server.wait()?;
    bail!("PostgreSQL did not answer within {} s: {}", START_LIMIT.as_secs(), last_lines_of_log(folder))
}

fn answers(programs: &Path, port: u16) -> Result<bool> {
    let mut command = Command::new(programs.join("pg_isready"));
    command.args(["--quiet", "--host=127.0.0.1", &format!("--port={port}")]);
    Ok(command.status().with_context(|| format!("cannot start `{}`", text(&command)))?.success())
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("there is no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

fn cluster_folder(folder: &Path) -> PathBuf {
    folder.join("cluster")
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("log")
}

fn last_lines_of_log(folder: &Path) -> String {
    let log = fs::read_to_string(log_file(folder)).unwrap_or_default();
    let lines: Vec<&str> = log.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}
