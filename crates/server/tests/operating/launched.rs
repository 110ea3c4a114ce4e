//! The program with listeners other than on a port of its own.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{PATIENCE, PROGRAM};

pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// The program with a configuration in `directory`, which is also where it keeps its data.
pub(crate) fn program(directory: &Path, listeners: &str) -> Command {
    let file = directory.join("homeserver.toml");
    let data = directory.join("data");
    let passwords = "[passwords]\nhash_memory = '1MiB'\nhash_iterations = 1\n";
    let text = format!("server.data_dir = '{}'\nregistration.enabled = true\n{passwords}{listeners}", data.display());
    fs::write(&file, text).unwrap();
    let mut command = Command::new(PROGRAM);
    command.env_clear().arg("--config").arg(file).stdin(Stdio::null());
    command
}

/// The same, started by a shell that hands over its standard input as the first socket, under this name.
pub(crate) fn activated(directory: &Path, listeners: &str, name: &str, socket: Stdio) -> Command {
    let inner = program(directory, listeners);
    let mut command = Command::new("/bin/sh");
    let script = r#"exec 3<&0 0</dev/null; export LISTEN_PID=$$; exec "$0" "$@""#;
    command.args(["-c", script]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name).stdin(socket);
    command
}

/// A server that is killed when this is dropped.
pub(crate) struct Launched(Child);

impl Launched {
    pub(crate) fn new(mut command: Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Sends SIGTERM and waits for the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            sleep(PAUSE);
        }
        panic!("the server did not stop");
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a program that fails says in its last line.
pub(crate) fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()
}

/// Sends a request and reads the whole answer.
pub(crate) fn exchange(stream: &mut (impl Read + Write), head: &str, body: &str) -> String {
    ask(stream, head, body);
    rest(stream)
}

pub(crate) fn ask(stream: &mut impl Write, head: &str, body: &str) {
    let length = body.len();
    let request = format!("{head}\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
}

pub(crate) fn rest(stream: &mut impl Read) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn json(answer: &str) -> serde_json::Value {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{answer}");
    serde_json::from_str(body).unwrap()
}
