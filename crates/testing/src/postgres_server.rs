//! A PostgreSQL server of one test's own, which can be stopped.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::database::TestDatabase;

/// Names the folder of PostgreSQL's programs.
const PROGRAMS_VARIABLE: &str = "SYNAPSE_RUST_TEST_POSTGRES_PROGRAMS";
const PORT_ATTEMPTS: usize = 5;

/// How a server stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopMode {
    /// In order: it ends its connections and writes everything out.
    Fast,
    /// As in a crash: it recovers when it starts again.
    Immediate,
}

/// A server on a port of 127.0.0.1, in a folder that goes with it. It is stopped when this is dropped.
pub struct PostgresServer {
    folder: TempDir,
    port: u16,
}

impl PostgresServer {
    /// Makes and starts one.
    ///
    /// # Panics
    /// When PostgreSQL's programs are not there or fail.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("synapse-rust-postgres-").tempdir();
        let folder = folder.expect("a temporary folder can be made");
        if runs_as_root() {
            let given = Command::new("chown").arg("postgres").arg(folder.path()).status();
            assert!(given.is_ok_and(|status| status.success()), "the folder can be given to the user postgres");
        } else {
            let _ = fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700));
        }
        let mut server = Self { folder, port: 0 };
        // With short files of its log the largest ones are those of tables.
        let log_files = "--wal-segsize=1";
        server.run(
            "initdb",
            ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync", log_files],
        );
        for _ in 0..PORT_ATTEMPTS {
            server.port = free_port();
            if server.try_to_start() {
                return server;
            }
        }
        panic!("PostgreSQL does not start: {}", server.log());
    }

    /// A new database on it.
    pub async fn database(&self) -> TestDatabase {
        TestDatabase::on(format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)).await
    }

    /// Stops the server; whatever is connected is cut off.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop(&self, mode: StopMode) {
        let mode = if mode == StopMode::Fast { "--mode=fast" } else { "--mode=immediate" };
        self.run("pg_ctl", ["stop", mode, "--silent"]);
    }

    /// Starts it again, on the same port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        assert!(self.try_to_start(), "PostgreSQL does not start again: {}", self.log());
    }

    /// Has all of its processes write no file beyond that size; `None` lifts the limit. A write that begins below and ends
    /// beyond is cut short, which is what a full disk does.
    ///
    /// # Panics
    /// When it does not run.
    pub fn limit_files(&self, size_bytes: Option<u64>) {
        let id_file = fs::read_to_string(self.folder.path().join("cluster/postmaster.pid"));
        let id_file = id_file.expect("the server has a file with its process ID");
        let server: i32 = id_file.lines().next().and_then(|line| line.parse().ok()).expect("it begins with the ID");
        // What it starts later has its limits.
        for id in std::iter::once(server).chain(children(server)) {
            // Not done by this process: root in a container may change the limits of its own processes only.
            let mut limiting = self.as_server("prlimit".as_ref());
            let limit = size_bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
            limiting.arg(format!("--pid={id}")).arg(format!("--fsize={limit}:")).stderr(Stdio::null());
            // A child may just have ended.
            let is_limited = limiting.status().is_ok_and(|status| status.success());
            assert!(is_limited || id != server, "the server's files can be limited");
        }
    }

    fn try_to_start(&self) -> bool {
        let options = format!(
            "-h 127.0.0.1 -p {} -c unix_socket_directories= -c fsync=off -c max_connections=100 -c shared_buffers=16MB",
            self.port
        );
        let mut command = self.command("pg_ctl");
        command.args(["start", "--wait", "--silent", "--log"]).arg(self.folder.path().join("log"));
        // The server must not hold the pipes of the test.
        command.arg("--options").arg(options).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("pg_ctl can be run").success()
    }

    fn run<const N: usize>(&self, program: &str, arguments: [&str; N]) {
        let output = self.command(program).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// PostgreSQL does not run as root; its package makes an account for it.
    fn command(&self, program: &str) -> Command {
        let mut command = self.as_server(&postgres_program(program));
        command.env("PGDATA", self.folder.path().join("cluster"));
        command
    }

    fn as_server(&self, program: &Path) -> Command {
        let mut command = if runs_as_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // One that the test has stopped does not run.
        let _ = self.command("pg_ctl").args(["stop", "--mode=immediate", "--silent"]).output();
    }
}

/// The path of one of PostgreSQL's programs, such as `pg_dump`.
///
/// # Panics
/// When nobody has said where they are: a test that cannot run must not look like one that passed.
#[must_use]
pub fn postgres_program(name: impl AsRef<OsStr>) -> PathBuf {
    let folder = std::env::var_os(PROGRAMS_VARIABLE);
    let folder =
        folder.unwrap_or_else(|| panic!("{PROGRAMS_VARIABLE} is not set: run `cargo xtask test`, which sets it"));
    Path::new(&folder).join(name.as_ref())
}

/// The processes that a process has started and that still run.
fn children(parent: i32) -> Vec<i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|process| process.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |id: &i32| {
        let state = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // After the name, which may have anything in it: the state, and the parent.
        let parent_of = state.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<i32>().ok());
        parent_of == Some(parent)
    };
    ids.filter(is_child).collect()
}

fn runs_as_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("the listener has an address").port()
}
