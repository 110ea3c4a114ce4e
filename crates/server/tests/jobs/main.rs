//! Work in the background, on both databases: what it leaves behind, and what a server that is killed or stopped in the midst
//! of it goes on with.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly in the functions around it too"
)]

mod clean_up;
mod guests;
mod interrupted;
mod profiles;
mod purging;
mod state_chunks;
mod statistics;

use std::time::Duration;

use homeserver_core::{Clock as _, SystemClock};
use storage::{Database, DatabaseOptions, JobId, JobRecord, JobState, Tx};
use tasks::queue::Job;
use testing::TestDatabase;

const V3: &str = "/_matrix/client/v3";
const LONG: Duration = Duration::from_secs(60);

/// The database of a server in another process.
async fn open(db: &TestDatabase) -> Database {
    Database::open(&DatabaseOptions::new(db.url())).await.unwrap()
}

async fn schedule<J: Job + Copy + Sync>(database: &Database, job: J) -> JobId {
    let write = async move |tx: &mut Tx| job.schedule(tx, SystemClock.now()).await;
    database.write(write).await.unwrap()
}

/// Schedules a job and waits until it is done.
async fn run<J: Job + Copy + Sync>(database: &Database, job: J) -> JobRecord {
    let id = schedule(database, job).await;
    ended(database, id).await
}

/// Waits until a job is done.
async fn ended(database: &Database, id: JobId) -> JobRecord {
    let waiting = async {
        loop {
            let job = database.job(id).await.unwrap().unwrap();
            assert_ne!(job.state, JobState::GivenUp, "{job:?}");
            if job.state == JobState::Finished {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(LONG, waiting).await {
        Ok(job) => job,
        Err(_) => panic!("not done: {:?}", database.job(id).await),
    }
}

/// How many rows a statement counts.
async fn count(database: &Database, sql: &'static str) -> i64 {
    database.query_optional(sql, &[], |row| row.get(0)).await.unwrap().unwrap()
}

/// Changes rows, as time or another version of the program would.
async fn execute(database: &Database, sql: &'static str) {
    database.write(async move |tx| tx.execute(sql, &[]).await.map(drop)).await.unwrap();
}
