//! What systemd is told.

use std::{path::Path, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use testing::{ServerProcess, TestDatabase, on_both_databases};
use tokio::{
    net::UnixDatagram,
    time::{Instant, timeout},
};

use crate::{PATIENCE, PROGRAM};

const WATCHDOG: Duration = Duration::from_secs(2);

struct Systemd {
    socket: UnixDatagram,
    _folder: tempfile::TempDir,
    variables: [String; 2],
}

impl Systemd {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let variables =
            [format!("NOTIFY_SOCKET={}", path.display()), format!("WATCHDOG_USEC={}", WATCHDOG.as_micros())];
        Self { socket: UnixDatagram::bind(&path).unwrap(), _folder: folder, variables }
    }

    async fn start(&self, db: &TestDatabase) -> ServerProcess {
        let [socket, watchdog] = &self.variables;
        ServerProcess::start_within(&["/usr/bin/env", socket, watchdog], PROGRAM, db, &[]).await
    }

    async fn next(&self) -> String {
        let mut message = [0; 1024];
        let size = timeout(PATIENCE, self.socket.recv(&mut message)).await.unwrap().unwrap();
        String::from_utf8(message[..size].to_vec()).unwrap()
    }

    /// The next message that is not about the watchdog.
    async fn next_state(&self) -> String {
        loop {
            let message = self.next().await;
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }

    /// Whether the watchdog is told anything within this time, at its end.
    async fn is_alive_within(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut message = [0; 1024];
        while let Ok(received) =
            timeout(deadline.saturating_duration_since(Instant::now()), self.socket.recv(&mut message)).await
        {
            if &message[..received.unwrap()] == b"WATCHDOG=1" {
                return true;
            }
        }
        false
    }

    fn forget(&self) {
        let mut message = [0; 1024];
        while self.socket.try_recv(&mut message).is_ok() {}
    }
}

fn now_usec() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

on_both_databases! {
    async fn systemd_is_told_when_the_server_serves_reloads_and_stops(db: TestDatabase) {
        let systemd = Systemd::new();
        let mut server = systemd.start(&db).await;
        let serving = format!("READY=1\nSTATUS=Serving {}", server.client().base_url());
        assert_eq!(systemd.next_state().await, "STATUS=Opening the database");
        assert_eq!(systemd.next_state().await, serving);
        for _ in 0..3 {
            assert_eq!(systemd.next().await, "WATCHDOG=1");
        }

        let before = now_usec();
        server.hang_up();
        let reloading = systemd.next_state().await;
        let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().split('\n').next().unwrap();
        assert!((before..=now_usec()).contains(&usec.parse().unwrap()), "{reloading}");
        assert_eq!(systemd.next_state().await, serving);

        std::fs::write(db.folder().join("test.toml"), "[server]\nnmae = 'a'\n").unwrap();
        server.hang_up();
        assert!(systemd.next_state().await.starts_with("RELOADING=1\n"));
        let refused = systemd.next_state().await;
        assert!(refused.starts_with(&serving) && refused.ends_with("the new one is refused"), "{refused}");

        assert_eq!(server.terminate().await.code(), Some(0));
        assert_eq!(systemd.next_state().await, "STOPPING=1\nSTATUS=Finishing requests in flight");
    }
}

/// Keeps everybody from writing.
fn lock(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watchdog_is_not_told_of_a_server_whose_writer_is_stuck() {
    let db = TestDatabase::sqlite();
    let systemd = Systemd::new();
    let _server = systemd.start(&db).await;
    assert!(systemd.is_alive_within(PATIENCE).await);
    let locked = lock(&db.folder().join("homeserver.db"));
    // What was asked before may still be answered.
    tokio::time::sleep(WATCHDOG / 2).await;
    systemd.forget();
    assert!(!systemd.is_alive_within(2 * WATCHDOG).await, "told that a stuck server is alive");
    drop(locked);
    assert!(systemd.is_alive_within(PATIENCE).await, "not told that it is alive again");
}
