//! Unix sockets, and sockets that the service manager hands over.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::{
            fs::PermissionsExt as _,
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::Instant,
};

use crate::{
    PATIENCE,
    launched::{Launched, PAUSE, activated, ask, exchange, failure, json, program, rest},
};

const VERSIONS: &str = "GET /_matrix/client/versions HTTP/1.1";

fn connect(path: &Path) -> UnixStream {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                return stream;
            }
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        sleep(PAUSE);
    }
}

fn command(directory: &Path, listeners: &str, arguments: &[&str]) -> Command {
    let mut command = program(directory, listeners);
    command.args(arguments);
    command
}

#[test]
fn a_unix_socket_serves_a_proxy_and_goes_with_the_server() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = directory.path().join("http.sock");
    // Left behind by a server that was killed.
    drop(UnixListener::bind(&path).unwrap());
    let listeners = format!("[[listeners]]\nbind = 'unix:{}'\nmode = '0600'\n", path.display());
    let mut server = Launched::new(program(directory.path(), &listeners));
    assert!(json(&exchange(&mut connect(&path), VERSIONS, ""))["versions"].is_array());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let created = command(directory.path(), &listeners, &["user", "create", "--name", "alice"]).output().unwrap();
    let password = String::from_utf8(created.stdout).unwrap().split_whitespace().next_back().unwrap().to_owned();
    let login = serde_json::json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "alice" }, "password": password,
    });
    let head = "POST /_matrix/client/v3/login HTTP/1.1\r\nx-forwarded-for: 198.51.100.7";
    let session = json(&exchange(&mut connect(&path), head, &login.to_string()));
    let token = session["access_token"].as_str().unwrap();
    let devices = format!(
        "GET /_matrix/client/v3/devices HTTP/1.1\r\nx-forwarded-for: 198.51.100.7\r\nauthorization: Bearer {token}"
    );
    json(&exchange(&mut connect(&path), &devices, ""));

    let healthy = command(directory.path(), &listeners, &["health"]).output().unwrap();
    assert!(healthy.status.success() && healthy.stdout == b"The server is healthy.\n", "{healthy:?}");
    let taken = failure(&program(other.path(), &listeners).output().unwrap());
    assert!(taken.ends_with("http.sock: another process listens there"), "{taken}");

    assert_eq!(server.terminate(), Some(0));
    assert!(!path.exists());
    let unhealthy = failure(&command(directory.path(), &listeners, &["health"]).output().unwrap());
    assert!(unhealthy.contains("does not answer"), "{unhealthy}");

    // Where a device was seen last is written at the end at the latest.
    let _again = Launched::new(program(directory.path(), &listeners));
    let devices = json(&exchange(&mut connect(&path), &devices, ""));
    assert_eq!(devices["devices"][0]["last_seen_ip"], "198.51.100.7", "{devices}");
}

#[test]
fn those_who_connect_while_an_activated_server_restarts_wait_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = || Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
    let connect = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let listeners = "[[listeners]]\nbind = 'systemd:client'\n";
    for _ in 0..2 {
        let mut early = connect();
        ask(&mut early, VERSIONS, "");
        let mut server = Launched::new(activated(directory.path(), listeners, "client", socket()));
        assert!(json(&rest(&mut early))["versions"].is_array());
        assert_eq!(server.terminate(), Some(0));
    }

    let listeners = "[[listeners]]\nbind = 'systemd:federation'\n";
    let missing = failure(&activated(directory.path(), listeners, "client", socket()).output().unwrap());
    let expected = "cannot listen on systemd:federation: the service manager has handed over only client";
    assert!(missing.ends_with(expected), "{missing}");
}

#[test]
fn a_unix_socket_can_be_handed_over_by_its_number() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let socket = Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
    let mut server = Launched::new(activated(directory.path(), "[[listeners]]\nbind = 'systemd:0'\n", "", socket));
    assert!(json(&exchange(&mut connect(&path), VERSIONS, ""))["versions"].is_array());
    assert_eq!(server.terminate(), Some(0));
    assert!(path.exists(), "it belongs to the service manager");
}
