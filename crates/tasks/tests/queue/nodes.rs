use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use storage::{JobState, Wanted};
use tasks::queue::RunEnd;
use testing::on_both_databases;

use crate::world::{LEASE, LONG, START, World, errand, until};

const JOBS: u32 = 60;

on_both_databases! {
    async fn no_two_workers_run_the_same_job(db: TestDatabase) {
        let world = World::new(&db);
        let nodes = [world.node().await, world.node().await, world.node().await];
        for number in 0..JOBS {
            world.schedule(&nodes[number as usize % 3], errand(number)).await;
        }
        let is_done = async || world.runs.ends.lock().len() == JOBS as usize;
        until(is_done).await;
        let begun = world.begun();
        assert_eq!(begun.len(), JOBS as usize, "{begun:?}");
        assert_eq!(begun.into_iter().collect::<BTreeSet<_>>().len(), JOBS as usize);
        for node in &nodes {
            node.queue.stop(LONG).await;
        }
        assert!(nodes[0].jobs("errand").await.iter().all(|job| job.attempts == 1));
    }

    async fn those_who_reach_for_the_same_jobs_at_once_get_different_ones(db: TestDatabase) {
        let world = World::new(&db);
        let (one, other) = (world.idle_node().await, world.idle_node().await);
        for number in 0..JOBS {
            world.schedule(&one, errand(number)).await;
        }
        let wanted = |node: &str| Wanted {
            names: vec!["errand".to_owned()],
            priority: 1,
            limit: 3,
            node: node.to_owned(),
            now: START,
            lease_until: START.plus(LEASE),
        };
        let claims = (0..20).flat_map(|_| [one.database.claim_jobs(wanted("a")), other.database.claim_jobs(wanted("b"))]);
        let claimed = futures::future::join_all(claims).await.into_iter().flat_map(Result::unwrap);
        let claimed: Vec<i64> = claimed.map(|job| job.claim.job_id.0).collect();
        assert_eq!(claimed.len(), JOBS as usize);
        assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>().len(), JOBS as usize);
    }

    async fn a_node_does_no_more_at_once_than_it_has_workers(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.held_node().await;
        for number in 0..10 {
            world.schedule(&node, errand(number)).await;
        }
        for _ in 0..10 {
            until(async || world.runs.at_once.load(Ordering::SeqCst) > 0).await;
            node.gate.add_permits(1);
        }
        until(async || world.runs.ends.lock().len() == 10).await;
        assert!(world.runs.most_at_once.load(Ordering::SeqCst) <= 4);
        node.queue.stop(LONG).await;
    }

    async fn a_dead_nodes_job_is_taken_when_its_lease_has_run_out(db: TestDatabase) {
        let world = World::new(&db);
        let mut victim = world.mortal_node().await;
        let id = world.schedule(&victim, errand(1)).await;
        victim.until(id, JobState::Running).await;
        victim.die().await;
        let heir = world.node().await;
        world.clock.advance(LEASE - Duration::from_secs(1));
        let after = world.schedule(&heir, errand(2)).await;
        heir.until(after, JobState::Finished).await;
        assert_eq!(heir.job(id).await.node.as_deref(), Some("node 0"), "the lease is not over yet");
        world.clock.advance(Duration::from_secs(1));
        let job = heir.until(id, JobState::Finished).await;
        assert_eq!((job.attempts, job.node.as_deref()), (2, Some("node 1")));
        heir.queue.stop(LONG).await;
    }

    async fn a_job_that_kills_its_nodes_is_given_up(db: TestDatabase) {
        let world = World::new(&db);
        let mut id = None;
        for round in 1..=4 {
            let mut victim = world.mortal_node().await;
            let id = match id {
                Some(id) => id,
                None => *id.insert(world.schedule(&victim, errand(1)).await),
            };
            until(async || world.begun().len() == round).await;
            victim.die().await;
            assert_eq!(victim.job(id).await.state, JobState::Running);
            world.clock.advance(LEASE);
        }
        let node = world.node().await;
        let job = node.until(id.unwrap(), JobState::GivenUp).await;
        let reason = job.last_error.unwrap();
        assert!(reason.starts_with("given up after 4 attempts"), "{reason}");
        assert_eq!(world.begun().len(), 4);
        node.queue.stop(LONG).await;
    }

    async fn who_has_lost_the_lease_drops_the_job_and_changes_nothing(db: TestDatabase) {
        let world = World::new(&db);
        let slow = world.held_node().await;
        let id = world.schedule(&slow, errand(1)).await;
        slow.until(id, JobState::Running).await;
        // As if it had been cut off from the database: another one has the job.
        let thief = world.idle_node().await;
        let wanted = Wanted {
            names: vec!["errand".to_owned()],
            priority: 1,
            limit: 1,
            node: "thief".to_owned(),
            now: START.plus(LEASE),
            lease_until: START.plus(4 * LEASE),
        };
        let stolen = thief.database.claim_jobs(wanted).await.unwrap().remove(0);
        slow.gate.add_permits(1);
        until(async || *world.runs.ends.lock() == [RunEnd::Lost]).await;
        let job = thief.job(id).await;
        assert_eq!((job.state, job.attempts, job.node.as_deref()), (JobState::Running, 2, Some("thief")));
        assert!(thief.database.finish_job(stolen.claim, job.progress, START).await.unwrap());
        slow.queue.stop(LONG).await;
    }

    async fn a_lease_is_renewed_for_as_long_as_the_job_runs(db: TestDatabase) {
        let world = World::new(&db);
        let node = world.held_node().await;
        let id = world.schedule(&node, errand(1)).await;
        node.until(id, JobState::Running).await;
        let renewed = node.database.renew_job_leases("node 0".to_owned(), vec![id.0], START.plus(3 * LEASE));
        assert_eq!(renewed.await.unwrap(), [id]);
        let foreign = node.database.renew_job_leases("node 7".to_owned(), vec![id.0], START.plus(9 * LEASE));
        assert!(foreign.await.unwrap().is_empty());
        let wanted = |now| Wanted {
            names: vec!["errand".to_owned()],
            priority: 1,
            limit: 1,
            node: "rival".to_owned(),
            now,
            lease_until: START.plus(9 * LEASE),
        };
        assert!(node.database.claim_jobs(wanted(START.plus(2 * LEASE))).await.unwrap().is_empty());
        assert_eq!(node.job(id).await.attempts, 1);
        node.gate.add_permits(1);
        node.until(id, JobState::Finished).await;
        assert!(node.database.claim_jobs(wanted(START.plus(9 * LEASE))).await.unwrap().is_empty());
        node.queue.stop(LONG).await;
    }
}
