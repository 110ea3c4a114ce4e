//! Two servers on one file: the second one is refused, and takes over when the first one has ended.

use std::{
    fs,
    process::Output,
    time::{Duration, Instant},
};

use serde_json::json;
use testing::{ServerProcess, Setting, TestDatabase, on_both_databases};
use tokio::time::sleep;

use crate::PROGRAM;

/// Far less than PostgreSQL may take to notice that a process is gone.
const AT_ONCE: Duration = Duration::from_secs(8);

fn impatient() -> [Setting<'static>; 1] {
    [("database", "connect_timeout", "1s".into())]
}

fn said(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_a_file_is_refused_and_commands_are_not() {
    let db = TestDatabase::sqlite();
    let server = ServerProcess::start_with(PROGRAM, &db, &impatient()).await;
    let refused = said(&server.run(&["serve"]).await);
    assert!(refused.contains("runs on it, and only one can on SQLite: stop that one first"), "{refused}");

    let made = server.run(&["user", "create", "--name", "bob"]).await;
    assert!(made.status.success(), "{made:?}");
    let alice = server.register("alice").await;
    let room = alice.create_room(&json!({})).await;
    let checked = server.run(&["room", "check", &room]).await;
    assert!(checked.status.success(), "{checked:?}");
    let target = db.folder().join("backup");
    let copied = server.run(&["backup", target.to_str().unwrap()]).await;
    assert!(copied.status.success(), "{copied:?}");
    alice.send_text(&room, "the first one goes on").await;
}

on_both_databases! {
    async fn a_server_that_has_ended_is_succeeded_at_once(db: TestDatabase) {
        let mut server = ServerProcess::start_with(PROGRAM, &db, &impatient()).await;
        server.kill().await;
        let began = Instant::now();
        server.restart().await;
        assert!(began.elapsed() < AT_ONCE, "after a kill it took {:?}", began.elapsed());
        server.terminate().await;
        let began = Instant::now();
        server.restart().await;
        assert!(began.elapsed() < AT_ONCE, "after a stop it took {:?}", began.elapsed());
    }

    async fn a_server_that_starts_while_another_one_stops_takes_its_place(db: TestDatabase) {
        let mut first = ServerProcess::start(PROGRAM, &db).await;
        let alice = first.register("alice").await;
        let stopping = async {
            sleep(Duration::from_secs(1)).await;
            first.terminate().await
        };
        let (second, stopped) = tokio::join!(ServerProcess::start(PROGRAM, &db), stopping);
        assert!(stopped.success());
        alice.at(&second.client()).create_room(&json!({})).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_leaves_everything_in_one_file() {
    let db = TestDatabase::sqlite();
    let mut server = ServerProcess::start(PROGRAM, &db).await;
    server.register("alice").await.create_room(&json!({})).await;
    assert!(fs::metadata(db.folder().join("homeserver.db-wal")).is_ok_and(|file| file.len() > 0));
    assert!(server.terminate().await.success());
    let left = fs::metadata(db.folder().join("homeserver.db-wal"));
    assert!(left.is_err() || left.is_ok_and(|file| file.len() == 0), "the write-ahead log is left");
}
