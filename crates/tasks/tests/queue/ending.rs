use std::time::Duration;

use homeserver_core::Clock as _;
use storage::JobState;
use tasks::queue::{JobError, RunEnd};
use testing::on_both_databases;

use crate::world::{Errand, LONG, START, World, errand, until};

const SOON: Duration = Duration::from_millis(50);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn retry(reason: &str) -> JobError {
    JobError::Retry(reason.to_owned())
}

on_both_databases! {
    async fn a_job_that_fails_is_tried_again_later_and_later(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.node().await;
        for reason in ["first", "second", "third"] {
            world.fail(retry(reason));
        }
        let id = world.schedule(&node, errand(1)).await;
        for (attempt, reason) in [(1, "first"), (2, "second"), (3, "third")] {
            until(async || node.job(id).await.last_error.as_deref() == Some(reason)).await;
            let job = node.job(id).await;
            assert_eq!((job.state, job.attempts), (JobState::Waiting, attempt));
            let pause = job.due_at.since(world.clock.now());
            let whole = Duration::from_secs(10) * 2_u32.pow(u32::try_from(attempt).unwrap() - 1);
            assert!(whole / 2 <= pause && pause <= whole, "{pause:?} after attempt {attempt}");
            world.clock.advance(pause);
        }
        let job = node.until(id, JobState::Finished).await;
        assert_eq!((job.attempts, job.last_error), (4, None));
        // The observer is told after the outcome is stored.
        until(async || world.runs.ends.lock().len() == 4).await;
        assert_eq!(*world.runs.ends.lock(), [RunEnd::Retried, RunEnd::Retried, RunEnd::Retried, RunEnd::Finished]);
        node.queue.stop(LONG).await;
    }

    async fn a_job_that_fails_too_often_is_given_up_with_the_reason(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.node().await;
        (1..=4).for_each(|number| world.fail(retry(&format!("failure {number}"))));
        let id = world.schedule(&node, errand(1)).await;
        for _ in 1..4 {
            until(async || node.job(id).await.state == JobState::Waiting && node.job(id).await.last_error.is_some()).await;
            let begun = world.begun().len();
            world.clock.advance(Duration::from_secs(100));
            until(async || world.begun().len() > begun).await;
        }
        let job = node.until(id, JobState::GivenUp).await;
        assert_eq!(job.last_error.as_deref(), Some("given up after 4 attempts: failure 4"));
        assert!(job.finished_at.is_some());

        assert!(node.database.revive_job(id, world.clock.now()).await.unwrap());
        let job = node.until(id, JobState::Finished).await;
        assert_eq!(job.attempts, 1);
        assert!(!node.database.revive_job(id, world.clock.now()).await.unwrap(), "it was not given up");
        node.queue.stop(LONG).await;
    }

    async fn what_cannot_succeed_is_given_up_at_once(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.node().await;
        world.fail(JobError::GiveUp("no such address".to_owned()));
        let id = world.schedule(&node, errand(1)).await;
        let job = node.until(id, JobState::GivenUp).await;
        assert_eq!((job.attempts, job.last_error.as_deref()), (1, Some("no such address")));
        node.queue.stop(LONG).await;
    }

    async fn a_job_too_old_is_given_up(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.idle_node().await;
        let id = world.schedule(&node, errand(1)).await;
        world.clock.advance(Duration::from_secs(3600));
        world.fail(retry("still no"));
        let worker = world.node().await;
        let job = worker.until(id, JobState::GivenUp).await;
        assert_eq!(job.last_error.as_deref(), Some("given up after 3600 s: still no"));
        worker.queue.stop(LONG).await;
    }

    async fn a_retry_gives_way_to_a_newer_job_of_its_key(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.held_node().await;
        let keyed = |what| Errand { what, key: Some("k".to_owned()) };
        world.fail(retry("once"));
        let old = world.schedule(&node, keyed(1)).await;
        node.until(old, JobState::Running).await;
        let new = world.schedule(&node, keyed(2)).await;
        node.gate.add_permits(2);
        node.until(new, JobState::Finished).await;
        let job = node.job(old).await;
        assert_eq!(job.state, JobState::Cancelled);
        assert!(job.last_error.unwrap().contains("newer job"));
        node.queue.stop(LONG).await;
    }

    async fn a_stopping_node_waits_for_its_jobs(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.held_node().await;
        let id = world.schedule(&node, errand(1)).await;
        node.until(id, JobState::Running).await;
        let letting = async {
            tokio::time::sleep(SOON).await;
            node.gate.add_permits(1);
        };
        tokio::join!(node.queue.stop(LONG), letting);
        assert_eq!(node.job(id).await.state, JobState::Finished);
        let late = world.schedule(&node, errand(2)).await;
        tokio::time::sleep(SOON).await;
        assert_eq!(node.job(late).await.state, JobState::Waiting, "a stopped node takes nothing");
    }

    async fn what_does_not_end_in_time_is_returned_and_runs_at_the_next_start(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.held_node().await;
        let id = world.schedule(&node, errand(1)).await;
        node.until(id, JobState::Running).await;
        node.queue.stop(SOON).await;
        let job = node.job(id).await;
        assert_eq!((job.state, job.attempts, job.last_error), (JobState::Waiting, 0, None));
        assert_eq!(*world.runs.ends.lock(), [RunEnd::Interrupted]);
        let next = world.node().await;
        assert_eq!(next.until(id, JobState::Finished).await.attempts, 1);
        next.queue.stop(LONG).await;
    }

    async fn ended_jobs_are_removed_after_their_time(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.node().await;
        let finished = world.schedule(&node, errand(1)).await;
        node.until(finished, JobState::Finished).await;
        world.fail(JobError::GiveUp("no".to_owned()));
        let given_up = world.schedule(&node, errand(2)).await;
        node.until(given_up, JobState::GivenUp).await;
        let write = async |tx: &mut storage::Tx| {
            tasks::queue::Job::schedule_at(&errand(3), tx, START, START.plus(100 * DAY)).await
        };
        let waiting = node.database.write(write).await.unwrap();
        world.clock.advance(2 * DAY);
        until(async || node.database.job(finished).await.unwrap().is_none()).await;
        assert_eq!(node.job(given_up).await.state, JobState::GivenUp);
        world.clock.advance(30 * DAY);
        until(async || node.database.job(given_up).await.unwrap().is_none()).await;
        assert_eq!(node.job(waiting).await.state, JobState::Waiting);
        assert!(node.database.cancel_job(waiting, world.clock.now()).await.unwrap());
        assert!(!node.database.cancel_job(waiting, world.clock.now()).await.unwrap());
        node.queue.stop(LONG).await;
    }
}
