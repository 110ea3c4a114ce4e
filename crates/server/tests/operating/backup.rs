//! Backed up while people are sending, and restored elsewhere.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::json;
use testing::{ServerProcess, TestDatabase, User, postgres_program};
use tokio::task::block_in_place;

use crate::{
    PROGRAM,
    load::{Load, are_there_once, is_undamaged},
};

/// Messages before the backup, and after it.
const MESSAGES: usize = 50;

/// A server under load, and what was acknowledged before the backup began.
struct Scene {
    server: ServerProcess,
    load: Load,
    room_id: String,
    before: Vec<String>,
}

impl Scene {
    async fn new(db: &TestDatabase) -> Self {
        let server = ServerProcess::start(PROGRAM, db).await;
        let alice = server.register("alice").await;
        let room_id = alice.create_room(&json!({ "name": "A room" })).await;
        fs::create_dir_all(db.folder().join("media/aa")).unwrap();
        fs::write(db.folder().join("media/aa/bb"), "a picture").unwrap();
        let load = Load::start(&server.client(), &alice, &room_id);
        load.proceeds_by(MESSAGES).await;
        let before = load.acknowledged();
        Self { server, load, room_id, before }
    }

    /// The load goes on for a while; then the server is gone for good.
    async fn end(mut self) -> (String, Vec<String>) {
        self.load.proceeds_by(MESSAGES).await;
        self.load.finish().await;
        self.server.kill().await;
        (self.room_id, self.before)
    }
}

/// Starts a server on what was restored, and has a look at it as Alice.
async fn is_restored(db: &TestDatabase, room_id: &str, before: &[String]) {
    let server = ServerProcess::start(PROGRAM, db).await;
    let alice = User::log_in(&server.client(), "alice").await;
    are_there_once(&alice, room_id, before).await;
    is_undamaged(&server, room_id).await;
    alice.send_text(room_id, "after the restoration").await;
    let synced = alice.sync(None, 0).await;
    assert!(synced["rooms"]["join"][room_id].is_object());
}

fn files(backup: &Path, db: &TestDatabase) {
    for name in ["signing.key", "media/aa/bb"] {
        fs::create_dir_all(db.folder().join(name).parent().unwrap()).unwrap();
        fs::copy(backup.join(name), db.folder().join(name)).unwrap();
    }
}

fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_server_on_sqlite_can_be_restored() {
    let (db, restored) = (TestDatabase::sqlite(), TestDatabase::sqlite());
    let scene = Scene::new(&db).await;
    let key = fs::read(db.folder().join("signing.key")).unwrap();
    let backups = tempfile::tempdir().unwrap();
    let backup = backups.path().join("today");
    let target = backup.to_str().unwrap();
    let said = succeeds(&scene.server.run(&["backup", target]).await);
    assert_eq!(said, format!("Backed up to {target}: the database, the signing key, 1 files of media\n"));
    let again = scene.server.run(&["backup", target]).await;
    assert!(String::from_utf8(again.stderr).unwrap().contains("is there already"));
    let (room_id, before) = scene.end().await;
    drop(db);

    files(&backup, &restored);
    fs::copy(backup.join("homeserver.db"), restored.folder().join("homeserver.db")).unwrap();
    is_restored(&restored, &room_id, &before).await;
    assert_eq!(fs::read(restored.folder().join("signing.key")).unwrap(), key);
    assert_eq!(fs::read(restored.folder().join("media/aa/bb")).unwrap(), b"a picture");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_server_on_postgresql_can_be_restored() {
    let (db, restored) = (TestDatabase::postgres().await, TestDatabase::empty_postgres().await);
    let scene = Scene::new(&db).await;
    let key = fs::read(db.folder().join("signing.key")).unwrap();
    let backups = tempfile::tempdir().unwrap();
    let (dump, backup) = (backups.path().join("homeserver.dump"), backups.path().join("today"));
    let mut dumping = Command::new(postgres_program("pg_dump"));
    dumping.arg("--format=custom").arg("--file").arg(&dump).arg(db.url());
    succeeds(&block_in_place(|| dumping.output().unwrap()));
    let refused = scene.server.run(&["backup", backup.to_str().unwrap()]).await;
    assert!(!refused.status.success() && String::from_utf8(refused.stderr).unwrap().contains("pg_dump"));
    succeeds(&scene.server.run(&["backup", "--without-database", backup.to_str().unwrap()]).await);
    let (room_id, before) = scene.end().await;
    drop(db);

    files(&backup, &restored);
    let mut restoring = Command::new(postgres_program("pg_restore"));
    restoring.args(["--no-owner", "--exit-on-error", "--dbname", restored.url()]).arg(&dump);
    succeeds(&block_in_place(|| restoring.output().unwrap()));
    is_restored(&restored, &room_id, &before).await;
    assert_eq!(fs::read(restored.folder().join("signing.key")).unwrap(), key);
}
