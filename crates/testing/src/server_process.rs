//! The real program, which can be killed.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::client::Client;
use crate::database::TestDatabase;
use crate::settings::{self, Setting};
use crate::user::User;

const READY_LIMIT: Duration = Duration::from_secs(60);
const EXIT_LIMIT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How many lines of the log are shown when something goes wrong.
const LOG_LINES: usize = 100;

/// Where the log names the address that a listener got.
const LISTENER_HOST: &str = "127.0.0.1:";

/// The program `synapse-rust` as a process of its own. It is killed when this is dropped.
pub struct ServerProcess {
    wrapper: Vec<String>,
    program: PathBuf,
    configuration: PathBuf,
    running: Running,
}

impl ServerProcess {
    /// Starts `program` on `database` and waits until it is ready. A test names the program with
    /// `env!("CARGO_BIN_EXE_synapse-rust")`.
    ///
    /// # Panics
    /// When it ends by itself or is not ready in time.
    pub async fn start(program: impl Into<PathBuf>, database: &TestDatabase) -> Self {
        Self::start_with(program, database, &[]).await
    }

    /// As [`start`](Self::start), with `further` settings.
    ///
    /// # Panics
    /// When it ends by itself or is not ready in time.
    pub async fn start_with(program: impl Into<PathBuf>, database: &TestDatabase, further: &[Setting<'_>]) -> Self {
        Self::start_within(&[], program, database, further).await
    }

    /// As [`start_with`](Self::start_with), by a command such as `/usr/bin/env` with a variable, which is given the program and
    /// its arguments, and becomes it.
    ///
    /// # Panics
    /// When it ends by itself or is not ready in time.
    pub async fn start_within(
        wrapper: &[&str],
        program: impl Into<PathBuf>,
        database: &TestDatabase,
        further: &[Setting<'_>],
    ) -> Self {
        let configuration = settings::write(database, further);
        let program = program.into();
        let wrapper: Vec<_> = wrapper.iter().map(|&word| word.to_owned()).collect();
        let running = Running::start(&wrapper, &program, &configuration).await;
        Self { wrapper, program, configuration, running }
    }

    /// Starts one of several servers on `database`, called `name`. Its own files are in a folder of that name; the signing key and
    /// the media are the others', too.
    ///
    /// # Panics
    /// When it ends by itself or is not ready in time.
    pub async fn start_node(
        program: impl Into<PathBuf>,
        database: &TestDatabase,
        name: &str,
        further: &[Setting<'_>],
    ) -> Self {
        let place = |name: &str| database.folder().join(name).display().to_string();
        let mut settings: Vec<Setting<'_>> = vec![
            ("server", "data_dir", place(name).into()),
            ("server", "signing_key_path", place("signing.key").into()),
            ("media", "path", place("media").into()),
        ];
        settings.extend_from_slice(further);
        let configuration = settings::write_as(name, database, &settings);
        let program = program.into();
        let running = Running::start(&[], &program, &configuration).await;
        Self { wrapper: Vec::new(), program, configuration, running }
    }

    /// A client of this server, until it is restarted: it may get another port then.
    #[must_use]
    pub fn client(&self) -> Client {
        self.running.client.clone()
    }

    /// Makes an account by open registration.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn register(&self, name: &str) -> User {
        User::register(&self.running.client, name).await
    }

    /// The process ID.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.running.child.id()
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When the process does not end in time.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_for_exit().await
    }

    /// Sends any signal, such as SIGSTOP to suspend the process.
    ///
    /// # Panics
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) {
        let id = self.running.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(id.expect("the server runs"), signal).expect("the server can be signalled");
    }

    /// Sends SIGHUP, which reloads the configuration.
    ///
    /// # Panics
    /// When the process has ended.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Sends SIGKILL and waits for the end.
    ///
    /// # Panics
    /// When the process does not end in time.
    pub async fn kill(&mut self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.wait_for_exit().await
    }

    /// Starts the program again after it ended, with the same configuration, and waits until it is ready.
    ///
    /// # Panics
    /// When it still runs, ends by itself, or is not ready in time.
    pub async fn restart(&mut self) {
        assert!(self.running.child.id().is_none(), "the server still runs");
        self.running = Running::start(&self.wrapper, &self.program, &self.configuration).await;
    }

    /// Runs another command of the program with the same configuration, to its end.
    ///
    /// # Panics
    /// When it cannot be started or does not end in time.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.configuration).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        match timeout(EXIT_LIMIT, command.output()).await {
            Ok(output) => output.expect("the program can be run"),
            Err(_) => panic!("{arguments:?} did not end in {} s", EXIT_LIMIT.as_secs()),
        }
    }

    /// The end of what the program wrote to its standard output and error output.
    #[must_use]
    pub fn log(&self) -> String {
        self.running.log.text()
    }

    async fn wait_for_exit(&mut self) -> ExitStatus {
        match timeout(EXIT_LIMIT, self.running.child.wait()).await {
            Ok(status) => status.expect("the server can be waited for"),
            Err(_) => panic!("the server did not end in {} s; its log:\n{}", EXIT_LIMIT.as_secs(), self.log()),
        }
    }
}

/// Prints the server's log, for the reader of a failed test.
impl Drop for ServerProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of the server's log:\n{}", self.log());
        }
    }
}

/// One life of the program.
struct Running {
    child: Child,
    client: Client,
    log: Log,
}

impl Running {
    async fn start(wrapper: &[String], program: &PathBuf, configuration: &PathBuf) -> Self {
        let mut command = match wrapper {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        // Without our environment, which may configure a server too.
        command.arg("--config").arg(configuration).env_clear().kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let (log, mut address) = Log::new();
        log.follow(child.stdout.take());
        log.follow(child.stderr.take());

        let deadline = Instant::now() + READY_LIMIT;
        loop {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("the server ended with {status}; its log:\n{}", log.text());
            }
            assert!(Instant::now() < deadline, "the server is not ready; its log:\n{}", log.text());
            let known = address.borrow_and_update().clone();
            if let Some(address) = known {
                let client = Client::new(format!("http://{address}"));
                let versions = client.get("/_matrix/client/versions").send().await;
                if versions.is_ok_and(|answer| answer.status == 200) {
                    return Self { child, client, log };
                }
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

/// The last lines of a log, in which the address of the listener is found.
#[derive(Clone)]
struct Log {
    lines: Arc<Mutex<VecDeque<String>>>,
    address: watch::Sender<Option<String>>,
}

impl Log {
    fn new() -> (Self, watch::Receiver<Option<String>>) {
        let (address, receiver) = watch::channel(None);
        (Self { lines: Arc::default(), address }, receiver)
    }

    fn follow(&self, output: Option<impl AsyncRead + Unpin + Send + 'static>) {
        let output = output.expect("the output is piped");
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                log.add(line);
            }
        });
    }

    fn add(&self, line: String) {
        if let Some(address) = listener_address(&line) {
            self.address.send_if_modified(|known| {
                let is_first = known.is_none();
                known.get_or_insert(address);
                is_first
            });
        }
        let mut lines = self.lines.lock();
        if lines.len() == LOG_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn text(&self) -> String {
        self.lines.lock().iter().map(|line| format!("{line}\n")).collect()
    }
}

/// The address in a line of the log, if it names one with a port.
fn listener_address(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(LISTENER_HOST)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let port: u16 = digits.parse().ok()?;
    (port != 0).then(|| format!("{LISTENER_HOST}{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_in_a_log_line() {
        let found = |line| listener_address(line);
        assert_eq!(found("INFO listening on http://127.0.0.1:41231 (client)"), Some("127.0.0.1:41231".to_owned()));
        assert_eq!(found(r#"{"address":"127.0.0.1:80"}"#), Some("127.0.0.1:80".to_owned()));
        assert_eq!(found("binding 127.0.0.1:0"), None);
        assert_eq!(found("INFO ready"), None);
    }

    #[tokio::test]
    #[should_panic(expected = "the server ended with exit status: 1")]
    async fn a_server_that_ends_at_once_fails_the_test() {
        ServerProcess::start("/bin/false", &TestDatabase::sqlite()).await;
    }
}
