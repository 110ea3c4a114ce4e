//! Another server finishes a job when its own is killed.

use std::time::Duration;

use accounts::jobs::UpdateMemberProfile;
use futures::{StreamExt as _, stream};
use serde_json::json;
use storage::{Database, DatabaseOptions, JobFilter, JobRecord, JobState};
use tasks::queue::Job as _;
use testing::{User, eventually};
use tokio::time::sleep;

use crate::world::{Nodes, room_path, soon};

const ROOMS: usize = 120;

/// In how many rooms the user's membership has the new name.
async fn renamed(database: &Database) -> usize {
    let sql = "SELECT e.client_json FROM current_state c JOIN events e ON e.event_sn = c.event_sn \
               WHERE c.type_sn = (SELECT type_sn FROM event_types WHERE event_type = 'm.room.member')";
    let events: Vec<bytes::Bytes> = database.query(sql, &[], |row| row.get(0)).await.unwrap();
    let is_renamed = |json: &&bytes::Bytes| String::from_utf8_lossy(json).contains(r#""displayname":"Alice""#);
    events.iter().filter(is_renamed).count()
}

/// How many events of a room give the user the new name.
async fn renamings(user: &User, room_id: &str) -> usize {
    let messages = user.get(room_path(room_id, "messages?dir=b&limit=50")).await.ok();
    let events = messages["chunk"].as_array().unwrap();
    events.iter().filter(|event| event["content"]["displayname"] == "Alice").count()
}

async fn the_job(database: &Database) -> JobRecord {
    let filter = JobFilter { name: Some(UpdateMemberProfile::NAME.to_owned()), ..JobFilter::default() };
    database.jobs(&filter, 10).await.unwrap().pop().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_server_is_killed_is_finished_by_another_one_and_nothing_is_done_twice() {
    let settings = [("jobs", "lease", "10s".into()), ("jobs", "poll_interval", "3s".into())];
    let mut nodes = Nodes::start_with(2, &settings).await;
    let alice = nodes.servers[0].register("alice").await;
    let making = (0..ROOMS).map(|_| async { alice.create_room(&json!({})).await });
    let rooms: Vec<String> = stream::iter(making).buffer_unordered(8).collect().await;
    let database = Database::open(&DatabaseOptions::new(nodes.db.url())).await.unwrap();

    let path = format!("/_matrix/client/v3/profile/{}/displayname", testing::path_segment(&alice.id));
    let renaming = alice.put(path).json(&json!({ "displayname": "Alice" }));
    let renaming = tokio::spawn(async move { renaming.send().await });
    let some_are_renamed = async {
        while renamed(&database).await == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the first room", some_are_renamed).await;
    nodes.servers[0].kill().await;
    drop(renaming.await);
    let before = renamed(&database).await;
    assert!((1..ROOMS).contains(&before), "{before} of {ROOMS} rooms had the name when the server was dead");
    let interrupted = the_job(&database).await;
    assert_eq!((interrupted.state, interrupted.attempts), (JobState::Running, 1), "{interrupted:?}");

    let finished = eventually("the end of the job", async || {
        let job = the_job(&database).await;
        assert_ne!(job.state, JobState::GivenUp, "{job:?}");
        (job.state == JobState::Finished).then_some(job)
    })
    .await;
    assert_eq!((finished.attempts, finished.progress.done), (2, ROOMS as u64));
    let alice = nodes.at(1, &alice);
    for room_id in &rooms {
        assert_eq!(renamings(&alice, room_id).await, 1, "{room_id}");
    }
    database.close().await;
}
