//! Two servers on one database: the second one is refused, and takes over when the first one has ended.

use std::{
    fs,
    process::Output,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use storage::{Database, DatabaseOptions};
use testing::{ServerProcess, Setting, TestDatabase, on_both_databases};
use tokio::time::sleep;

use crate::{PATIENCE, PROGRAM};

/// Far less than PostgreSQL may take to notice that a process is gone.
const AT_ONCE: Duration = Duration::from_secs(8);

fn impatient() -> [Setting<'static>; 1] {
    [("database", "connect_timeout", "1s".into())]
}

fn said(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

on_both_databases! {
    async fn a_second_server_is_refused_and_commands_are_not(db: TestDatabase) {
        let mut server = ServerProcess::start_with(PROGRAM, &db, &impatient()).await;
        let refused = said(&server.run(&["serve"]).await);
        assert!(refused.contains("runs on it, and only one can: stop that one first"), "{refused}");

        let made = server.run(&["user", "create", "--name", "bob"]).await;
        assert!(made.status.success(), "{made:?}");
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        let checked = server.run(&["room", "check", &room]).await;
        assert!(checked.status.success(), "{checked:?}");
        if !db.is_postgres() {
            let target = db.folder().join("backup");
            let copied = server.run(&["backup", target.to_str().unwrap()]).await;
            assert!(copied.status.success(), "{copied:?}");
        }
        alice.send_text(&room, "the first one goes on").await;

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
async fn a_server_that_was_succeeded_while_it_was_away_stops() {
    let db = TestDatabase::postgres().await;
    let first = ServerProcess::start(PROGRAM, &db).await;
    let alice = first.register("alice").await;
    let room = alice.create_room(&json!({})).await;
    let id = first.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).unwrap();
    kill_process(id, Signal::STOP).unwrap();
    let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let _ = database.query(sql, &[], |_| Ok(())).await;
    database.close().await;
    let second = ServerProcess::start(PROGRAM, &db).await;
    kill_process(id, Signal::CONT).unwrap();
    let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/1");
    let sent = alice.put(&path).json(&json!({ "msgtype": "m.text", "body": "too late" })).send().await;
    assert!(sent.is_err() || sent.is_ok_and(|answer| answer.status == 503), "it writes beside its successor");
    let deadline = Instant::now() + PATIENCE + PATIENCE;
    while !first.log().contains("another server has taken over the database, so this one has stopped") {
        assert!(Instant::now() < deadline, "it goes on: {}", first.log());
        sleep(Duration::from_millis(100)).await;
    }
    alice.at(&second.client()).send_text(&room, "the second one serves").await;
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
