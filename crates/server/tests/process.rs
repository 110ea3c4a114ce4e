//! The program itself: its command line, its signals, its exit codes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly in the functions around it too")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(30);

fn program(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synapse-rust"));
    command.args(arguments).env_clear().current_dir(directory).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str], configuration: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("homeserver.toml"), configuration).unwrap();
    program(directory.path(), arguments).output().unwrap()
}

/// A running server and the lines that it logs. It is killed when this is dropped.
struct Server {
    process: Child,
    lines: Receiver<String>,
    address: String,
    configuration: PathBuf,
    _directory: tempfile::TempDir,
}

/// Starts the server and passes on the lines of both its outputs.
fn launch(directory: &Path) -> (Child, Receiver<String>) {
    let mut command = program(directory, &["serve", "--config", "homeserver.toml"]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = mpsc::channel();
    let outputs: [Box<dyn Read + Send>; 2] =
        [Box::new(process.stdout.take().unwrap()), Box::new(process.stderr.take().unwrap())];
    for output in outputs {
        let sender = sender.clone();
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        thread::spawn(move || lines.try_for_each(|line| sender.send(line)));
    }
    (process, lines)
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let configuration = directory.path().join("homeserver.toml");
        fs::write(&configuration, "[server]\nshutdown_timeout = '1s'\n[[listeners]]\nbind = '127.0.0.1:0'\n").unwrap();
        let (process, lines) = launch(directory.path());
        let mut server = Self { process, lines, address: String::new(), configuration, _directory: directory };
        server.wait_for_address();
        server
    }

    fn restart(&mut self) {
        self.signal("TERM");
        assert_eq!(self.exit_code(), Some(0));
        (self.process, self.lines) = launch(self.configuration.parent().unwrap());
        self.wait_for_address();
    }

    fn wait_for_address(&mut self) {
        let line = self.line_with("listening on http://");
        self.address = line.split("http://").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    }

    fn line_with(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("no line with {text:?} in {seen:#?}")
    }

    fn post(&self, path: &str, body: &serde_json::Value) -> String {
        let body = body.to_string();
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        let mut answer = String::new();
        self.send(&(head + &body)).read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    fn is_ready(&self) -> bool {
        let request = "GET /_matrix/client/versions HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let mut answer = String::new();
        self.send(request).read_to_string(&mut answer).unwrap();
        answer.starts_with("HTTP/1.1 200 OK")
    }

    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("the server did not stop");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_signal_stops_the_server_with_exit_code_0_whoever_is_waiting() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start();
        assert!(server.is_ready());
        let _idle = server.send("");
        let _half_a_request = server.send("GET /_matrix/client/versions HTTP/1.1\r\nhost:");
        thread::sleep(Duration::from_millis(100));
        server.signal(signal);
        assert_eq!(server.exit_code(), Some(0), "after SIG{signal}");
    }
}

#[test]
fn a_bad_file_is_refused_at_a_reload_and_the_old_configuration_stays() {
    let server = Server::start();
    fs::write(&server.configuration, "[server]\nnmae = 'a'\n").unwrap();
    server.signal("HUP");
    let line = server.line_with("the configuration is refused and the old one stays");
    assert!(line.contains("homeserver.toml: server.nmae: unknown key `nmae`"), "{line}");
    assert!(server.is_ready());

    let good = "[server]\nworker_threads = 1\n[[listeners]]\nbind = '127.0.0.1:0'\n[telemetry]\nlog_filter = 'debug'\n";
    fs::write(&server.configuration, good).unwrap();
    server.signal("HUP");
    assert!(server.line_with("configuration reloaded").contains("telemetry.log_filter"));
    assert!(server.line_with("after a restart").contains("server.worker_threads"));
    assert!(server.is_ready());
}

#[test]
fn a_start_that_fails_says_why_in_one_line_and_exits_with_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (configuration, expected) in [
        ("[server]\nname = ''".to_owned(), "homeserver.toml: server.name: invalid value"),
        ("server.nmae = 'a'".to_owned(), "homeserver.toml: server.nmae: unknown key `nmae`, expected one of `name`, "),
        ("telemetry.log_filter = 'a=b=c'".to_owned(), "homeserver.toml: telemetry.log_filter: expected a log filter"),
        (format!("[[listeners]]\nbind = '{address}'"), "cannot listen on 127.0.0.1:"),
        ("server.data_dir = '/proc/nowhere'".to_owned(), "cannot create the directory /proc/nowhere"),
        ("server.signing_key_path = '/proc/version'".to_owned(), "the signing key /proc/version: expected a line"),
        (
            "server.signing_key_path = '/proc/version'\ndatabase.url = 'sqlite:///proc/x.db'".to_owned(),
            "the signing key",
        ),
        (
            "[database]\nurl = 'postgres://me:secret@127.0.0.1:1/x'\nconnect_timeout = '1s'".to_owned(),
            "synapse-rust: the database postgres://me:[redacted]@127.0.0.1:1/x: error communicating with database: Connection refused",
        ),
    ] {
        let output = output(&["--config", "homeserver.toml"], &configuration);
        let error = String::from_utf8(output.stderr).unwrap();
        let last = error.lines().last().unwrap();
        assert!(last.starts_with("synapse-rust: ") && last.contains(expected), "{error}");
        assert_eq!(error.matches("synapse-rust: ").count(), 1, "{error}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn a_configuration_with_email_can_be_checked() {
    let email =
        "[server]\npublic_base_url = 'https://a.example'\n[email]\nsmtp_host = 'mail.example'\nfrom = 'a@a.example'\n";
    let arguments = ["--config", "homeserver.toml", "config", "check"];
    let good = output(&arguments, email);
    assert!(good.status.success() && good.stdout == b"The configuration is valid.\n", "{good:?}");
    for wrong in
        ["smtp_port = 0\ntls = 'yes'", "templates_dir = '/nowhere'", "\n[network]\ntrusted_ca = ['/nowhere.pem']"]
    {
        let bad = output(&arguments, &format!("{email}{wrong}"));
        assert_eq!(bad.status.code(), Some(1), "{wrong}: {bad:?}");
        assert_eq!(String::from_utf8(bad.stderr).unwrap().lines().count(), 1);
    }
}

#[test]
fn the_option_config_stands_before_or_after_the_command() {
    for arguments in
        [["--config", "homeserver.toml", "config", "check"], ["config", "check", "--config", "homeserver.toml"]]
    {
        let good = output(&arguments, "");
        assert!(good.status.success() && good.stdout == b"The configuration is valid.\n", "{good:?}");
        let bad = output(&arguments, "x = 1");
        assert_eq!(bad.status.code(), Some(1));
        assert!(
            String::from_utf8(bad.stderr).unwrap().starts_with("synapse-rust: homeserver.toml: x: unknown key `x`")
        );
    }
}

#[test]
fn the_configuration_is_shown_described_and_generated() {
    let text = |arguments: &[&str]| {
        let output = output(arguments, "registration.shared_secret = 'hunter2'");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = text(&["config", "show", "--config", "homeserver.toml"]);
    assert!(shown.contains("shared_secret = \"[redacted]\"") && !shown.contains("hunter2"), "{shown}");
    let schema: serde_json::Value = serde_json::from_str(&text(&["config", "schema"])).unwrap();
    assert_eq!(schema["properties"]["listeners"]["type"], "array");
    assert!(text(&["config", "generate"]).contains("\n[[listeners]]\n"));
    assert_eq!(text(&["--version"]), format!("synapse-rust {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_account_made_on_the_command_line_can_log_in() {
    let server = Server::start();
    let directory = server.configuration.parent().unwrap();
    let arguments = ["user", "create", "--name", "alice", "--admin", "--password-stdin", "--config", "homeserver.toml"];
    let create = || {
        let mut command = program(directory, &arguments);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        process.stdin.take().unwrap().write_all(b"correct horse\nbattery\n").unwrap();
        process.wait_with_output().unwrap()
    };
    let created = create();
    assert!(created.status.success(), "{created:?}");
    assert_eq!(String::from_utf8(created.stdout).unwrap(), "Created @alice:localhost\n");
    let again = create();
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(String::from_utf8(again.stderr).unwrap(), "synapse-rust: This user name is taken\n");

    let identifier = serde_json::json!({ "type": "m.id.user", "user": "alice" });
    let login =
        serde_json::json!({ "type": "m.login.password", "identifier": identifier, "password": "correct horse" });
    let answer = server.post("/_matrix/client/v3/login", &login);
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("@alice:localhost"), "{answer}");
}

#[test]
fn the_token_of_the_first_account_is_printed_until_there_is_one() {
    let mut server = Server::start();
    server.line_with("There is no account yet");
    let arguments = ["user", "create", "--name", "alice", "--config", "homeserver.toml"];
    let created = program(server.configuration.parent().unwrap(), &arguments).output().unwrap();
    let text = String::from_utf8(created.stdout).unwrap();
    assert!(text.starts_with("Created @alice:localhost with the password "), "{text}");
    server.restart();
    assert!(server.is_ready());
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
    assert!(server.lines.iter().all(|line| !line.contains("There is no account yet")));
}
