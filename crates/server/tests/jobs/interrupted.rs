use std::time::{Duration, Instant};

use accounts::jobs::UpdateMemberProfile;
use futures::{StreamExt as _, stream};
use serde_json::json;
use storage::{Database, JobFilter, JobState};
use tasks::queue::Job as _;
use testing::{ServerProcess, User, on_both_databases, path_segment};

use crate::{LONG, V3, ended, open};

const ROOMS: usize = 120;

on_both_databases! {
    async fn all_rooms_have_the_new_name_though_the_server_was_killed_in_between(db: TestDatabase) {
        let settings = [("jobs", "lease", "10s".into()), ("jobs", "poll_interval", "1s".into())];
        let mut server = ServerProcess::start_with(env!("CARGO_BIN_EXE_synapse-rust"), &db, &settings).await;
        let alice = server.register("alice").await;
        let rooms = make_rooms(&alice).await;
        let database = open(&db).await;
        let path = format!("{V3}/profile/{}/displayname", path_segment(&alice.id));
        let renaming = {
            let request = alice.put(path).json(&json!({ "displayname": "Alice" }));
            tokio::spawn(async move { request.send().await })
        };
        let some = async {
            while !(1..ROOMS).contains(&renamed(&database).await) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LONG, some).await.unwrap();
        server.kill().await;
        renaming.await.unwrap().unwrap_err();
        let before = renamed(&database).await;
        assert!((1..ROOMS).contains(&before), "{before} of {ROOMS} rooms had the name when the server was dead");

        server.restart().await;
        let filter = JobFilter { name: Some(UpdateMemberProfile::NAME.to_owned()), ..JobFilter::default() };
        let job = database.jobs(&filter, 10).await.unwrap().pop().unwrap();
        let job = ended(&database, job.job_id).await;
        assert_eq!((job.attempts, job.progress.done), (2, ROOMS as u64));
        let alice = alice.at(&server.client());
        for room_id in &rooms {
            let path = format!("{V3}/rooms/{}/state/m.room.member/{}", path_segment(room_id), path_segment(&alice.id));
            assert_eq!(alice.get(path).await.ok()["displayname"], "Alice", "{room_id}");
        }
        println!("{before} of {ROOMS} rooms had the name when the server was killed");
        database.close().await;
        assert_eq!(server.terminate().await.code(), Some(0), "{}", server.log());
    }

    async fn a_stopping_server_returns_a_job_that_it_cannot_finish_and_goes_on_with_it(db: TestDatabase) {
        let settings = [("server", "shutdown_timeout", "50ms".into())];
        let mut server = ServerProcess::start_with(env!("CARGO_BIN_EXE_synapse-rust"), &db, &settings).await;
        let alice = server.register("alice").await;
        let rooms = make_rooms(&alice).await;
        let database = open(&db).await;
        let path = format!("{V3}/profile/{}/displayname", path_segment(&alice.id));
        let renaming = {
            let request = alice.put(path).json(&json!({ "displayname": "Alice" }));
            tokio::spawn(async move { request.send().await })
        };
        let some = async {
            while renamed(&database).await == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LONG, some).await.unwrap();
        let signalled = Instant::now();
        assert_eq!(server.terminate().await.code(), Some(0), "{}", server.log());
        assert!(signalled.elapsed() < Duration::from_secs(15), "{:?}", signalled.elapsed());
        drop(renaming.await);
        let filter = JobFilter { name: Some(UpdateMemberProfile::NAME.to_owned()), ..JobFilter::default() };
        let job = database.jobs(&filter, 10).await.unwrap().pop().unwrap();
        // A very quick machine may have finished it.
        assert!(matches!(job.state, JobState::Waiting | JobState::Finished), "{job:?}");

        server.restart().await;
        let job = ended(&database, job.job_id).await;
        assert_eq!(job.attempts, 1);
        assert_eq!(renamed(&database).await, rooms.len());
        database.close().await;
        assert_eq!(server.terminate().await.code(), Some(0), "{}", server.log());
    }
}

async fn make_rooms(alice: &User) -> Vec<String> {
    let rooms = (0..ROOMS).map(|_| async { alice.create_room(&json!({})).await });
    stream::iter(rooms).buffer_unordered(8).collect().await
}

/// In how many rooms the current state has the new name.
async fn renamed(database: &Database) -> usize {
    let sql = "SELECT e.client_json FROM current_state c JOIN events e ON e.event_sn = c.event_sn \
               WHERE c.type_sn = (SELECT type_sn FROM event_types WHERE event_type = 'm.room.member')";
    let events: Vec<bytes::Bytes> = database.query(sql, &[], |row| row.get(0)).await.unwrap();
    let is_renamed = |json: &&bytes::Bytes| String::from_utf8_lossy(json).contains(r#""displayname":"Alice""#);
    events.iter().filter(is_renamed).count()
}
