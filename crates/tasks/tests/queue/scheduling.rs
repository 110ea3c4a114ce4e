use std::time::Duration;

use storage::{JobState, StorageError, params};
use tasks::queue::Job as _;
use testing::on_both_databases;
use tokio::time::Instant;

use crate::world::{DAILY, LONG, START, World, errand, until};

const HOUR: Duration = Duration::from_secs(3600);

on_both_databases! {
    async fn a_job_exists_if_and_only_if_its_transaction_commits(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.idle_node().await;
        let failed = node.database.write(async move |tx| {
            errand(1).schedule(tx, START).await?;
            tx.execute("INSERT INTO no_such_table VALUES (1)", &[]).await.map(drop)
        });
        assert!(matches!(failed.await, Err(StorageError::Statement(_))));
        assert!(node.jobs("errand").await.is_empty());
        let id = world.schedule(&node, errand(2)).await;
        let jobs = node.jobs("errand").await;
        assert_eq!(jobs.iter().map(|job| job.job_id).collect::<Vec<_>>(), [id]);
        assert_eq!((jobs[0].state, jobs[0].attempts, jobs[0].scheduled_at), (JobState::Waiting, 0, START));
    }

    async fn a_write_that_runs_again_because_of_its_neighbours_schedules_once(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.idle_node().await;
        let writes = (0..40).map(|number| {
            let database = node.database.clone();
            tokio::spawn(async move {
                database.write(async move |tx| {
                    errand(number).schedule(tx, START).await?;
                    let name = format!("{}", number / 2);
                    let sql = "INSERT INTO server_values (name, value) VALUES ($1, 'x')";
                    tx.execute(sql, params![&name]).await.map(drop)
                }).await
            })
        });
        let mut committed = 0;
        for write in futures::future::join_all(writes).await {
            committed += usize::from(write.unwrap().is_ok());
        }
        assert_eq!((committed, node.jobs("errand").await.len()), (20, 20));
    }

    async fn a_job_is_begun_at_once_on_the_node_that_schedules_it(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.node().await;
        let began = Instant::now();
        let id = world.schedule(&node, errand(1)).await;
        assert_eq!(node.queue.settle(id, LONG).await.unwrap(), Some(JobState::Finished));
        assert!(began.elapsed() < LONG);
        let job = node.job(id).await;
        assert_eq!((job.attempts, job.progress.done, job.progress.total), (1, 1, 2));
        assert_eq!(job.progress.note.as_deref(), Some("Running errand 1"));
        assert_eq!(job.node.as_deref(), Some("node 0"));
        node.queue.stop(LONG).await;
    }

    async fn of_a_key_one_job_waits_and_one_runs(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.held_node().await;
        let keyed = |what| crate::world::Errand { what, key: Some("k".to_owned()) };
        let first = world.schedule(&node, keyed(1)).await;
        node.until(first, JobState::Running).await;
        let second = world.schedule(&node, keyed(2)).await;
        assert_ne!(first, second, "the first one runs, and may have missed what the second is about");
        assert_eq!(world.schedule(&node, keyed(3)).await, second);
        let other = world.schedule(&node, errand(4)).await;
        node.until(other, JobState::Running).await;
        assert_eq!(node.job(second).await.state, JobState::Waiting, "its sibling runs");
        node.gate.add_permits(2);
        node.until(first, JobState::Finished).await;
        node.until(second, JobState::Running).await;
        node.gate.add_permits(1);
        node.until(second, JobState::Finished).await;
        assert_eq!(world.begun(), [1, 4, 2]);
        node.queue.stop(LONG).await;
    }

    async fn a_waiting_job_is_due_no_later_than_its_doubles(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.idle_node().await;
        let keyed = |what| crate::world::Errand { what, key: Some("k".to_owned()) };
        let write = async move |tx: &mut storage::Tx| keyed(1).schedule_at(tx, START, START.plus(HOUR)).await;
        let id = node.database.write(write).await.unwrap();
        assert_eq!(node.job(id).await.due_at, START.plus(HOUR));
        assert_eq!(world.schedule(&node, keyed(2)).await, id);
        assert_eq!(node.job(id).await.due_at, START);
    }

    async fn what_is_due_later_waits_for_its_time(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.node().await;
        let write = async move |tx: &mut storage::Tx| errand(1).schedule_at(tx, START, START.plus(HOUR)).await;
        let later = node.database.write(write).await.unwrap();
        let now = world.schedule(&node, errand(2)).await;
        node.until(now, JobState::Finished).await;
        assert_eq!(node.job(later).await.state, JobState::Waiting);
        world.clock.advance(HOUR);
        node.until(later, JobState::Finished).await;
        assert_eq!(world.begun(), [2, 1]);
        node.queue.stop(LONG).await;
    }

    async fn what_is_done_daily_is_done_once_by_two_nodes(db: TestDatabase) {
        let world = World::new(&db);
        let (one, other) = (world.node().await, world.node().await);
        until(async || one.database.job_schedules().await.unwrap().len() == 2).await;
        let done = || world.begun().into_iter().filter(|what| *what == DAILY).count();
        for day in 1..=3 {
            world.clock.advance(24 * HOUR);
            until(async || done() == day).await;
            // Both have looked since.
            for node in [&one, &other] {
                let id = world.schedule(node, errand(1)).await;
                node.until(id, JobState::Finished).await;
            }
            assert_eq!(done(), day);
            assert!(one.jobs("daily").await.iter().all(|job| job.state == JobState::Finished));
        }
        one.queue.stop(LONG).await;
        other.queue.stop(LONG).await;
    }

    async fn what_was_missed_while_there_was_no_node_is_done_once_a_while_after_the_start(db: TestDatabase) {
        let world = World::new(&db);
        let before = world.node().await;
        until(async || before.database.job_schedules().await.unwrap().len() == 2).await;
        before.queue.stop(LONG).await;
        world.clock.advance(72 * HOUR);
        let node = world.node().await;
        until(async || node.jobs("daily").await.len() == 1).await;
        let missed = node.jobs("daily").await.remove(0);
        assert_eq!(missed.state, JobState::Waiting);
        world.clock.advance(Duration::from_secs(300));
        node.until(missed.job_id, JobState::Finished).await;
        assert_eq!(node.jobs("daily").await.len(), 1);
        node.queue.stop(LONG).await;
    }
}
