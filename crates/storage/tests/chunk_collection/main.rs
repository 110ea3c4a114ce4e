//! Chunks of states that nothing refers to are removed, and no others, whatever happens at the same time.

#![expect(clippy::unwrap_used, reason = "the exception for tests does not reach the functions that tests share")]
#![expect(clippy::indexing_slicing, reason = "a model of what is stored fails its test by panicking")]

mod world;

use homeserver_core::EventSn;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use storage::{ChunkCollector, Collected, CollectorLimits, Database, Standing};
use testing::on_both_databases;
use world::{Draft, World, place, random_changes, state_of};

const ROOMS: i64 = 3;
/// Entries of a state that needs branches, and of one that needs branches above those.
const SEVERAL_CHUNKS: i64 = 500;
const SEVERAL_BRANCHES: i64 = 20_000;

/// Limits that make a collector go over a few dozen chunks several times.
const TIGHT: CollectorLimits = CollectorLimits { marks: 30, visited: 6, at_once: 10 };

fn collector(database: &Database) -> ChunkCollector {
    ChunkCollector::with_limits(database.clone(), TIGHT)
}

async fn finish(mut collector: ChunkCollector) -> Collected {
    loop {
        if let Some(collected) = collector.step().await.unwrap() {
            return collected;
        }
    }
}

/// One thing that happens to a room.
async fn happen(world: &mut World, random: &mut StdRng, under_way: &mut Vec<Draft>) {
    let room = random.random_range(1..=ROOMS);
    let node = random.random_range(0..world.nodes.len());
    let events = world.events(room);
    let any = |random: &mut StdRng| events[random.random_range(0..events.len())];
    match random.random_range(0..100) {
        _ if events.is_empty() => {
            let draft = world.draft(room, Standing::Accepted, None, state_of(SEVERAL_CHUNKS), None).await;
            world.append(node, draft).await;
        }
        // The ones that are purged are not only old ones: a new state may be all that needs the chunks of an old one.
        0..30 => world.purge(node, room, any(random)).await,
        30..32 => {
            world.delete_room(node, room).await;
            // The versions of a room's head begin anew.
            under_way.clear();
        }
        32..42 if !under_way.is_empty() => {
            let draft = under_way.swap_remove(random.random_range(0..under_way.len()));
            world.append(node, draft).await;
        }
        choice => {
            let base = any(random);
            let changes = random_changes(random);
            let standing = if random.random() { Standing::Accepted } else { Standing::SoftFailed };
            let resolved = random.random_bool(0.6).then(|| {
                let changes = random_changes(random).into_iter();
                changes.filter_map(|(place, event)| Some((place, event?))).collect()
            });
            let draft = world.draft(room, standing, Some(base), changes, resolved).await;
            if choice < 55 {
                under_way.push(draft);
            } else {
                world.append(node, draft).await;
            }
        }
    }
}

on_both_databases! {
    async fn needed_chunks_stay_and_others_go(db: TestDatabase) {
        let mut world = World::new(&db, 1).await;
        let draft = world.draft(1, Standing::Accepted, None, state_of(SEVERAL_CHUNKS), None).await;
        let first = world.append(0, draft).await.unwrap();
        let draft = world.draft(1, Standing::Accepted, Some(first), vec![(place(250), None)], None).await;
        world.append(0, draft).await.unwrap();
        let (stored, needed) = world.chunks().await;
        assert_eq!(stored, needed);
        let nothing = Collected { chunks: 0, bytes: 0, kept: stored as u64 };
        assert_eq!(finish(collector(&world.nodes[0])).await, nothing);

        world.purge(0, 1, first).await;
        let (stored, needed) = world.chunks().await;
        assert!(needed < stored, "{needed} of {stored}");
        let collected = finish(collector(&world.nodes[0])).await;
        assert_eq!((collected.chunks, collected.kept), ((stored - needed) as u64, needed as u64));
        assert!(collected.bytes > 0);
        assert_eq!(world.chunks().await, (needed, needed));
        world.check().await;

        world.delete_room(0, 1).await;
        let collected = ChunkCollector::new(world.nodes[0].clone()).run().await.unwrap();
        assert_eq!((collected.chunks, collected.kept), (needed as u64, 0));
    }

    async fn large_states_are_needed_down_to_their_leaves(db: TestDatabase) {
        let mut world = World::new(&db, 1).await;
        let draft = world.draft(1, Standing::Accepted, None, state_of(SEVERAL_BRANCHES), None).await;
        let first = world.append(0, draft).await.unwrap();
        let change = vec![(place(SEVERAL_BRANCHES / 2), Some(EventSn(9)))];
        let draft = world.draft(1, Standing::Accepted, Some(first), change, None).await;
        world.append(0, draft).await.unwrap();
        assert!(world.levels().await > 2);
        world.purge(0, 1, first).await;
        let (stored, needed) = world.chunks().await;
        let collected = ChunkCollector::new(world.nodes[0].clone()).run().await.unwrap();
        assert_eq!((collected.chunks, collected.kept), ((stored - needed) as u64, needed as u64));
        world.check().await;
    }

    async fn an_event_that_is_built_on_a_state_that_is_gone_is_refused(db: TestDatabase) {
        let mut world = World::new(&db, 2).await;
        let draft = world.draft(1, Standing::Accepted, None, state_of(SEVERAL_CHUNKS), None).await;
        let first = world.append(0, draft).await.unwrap();
        let draft = world.draft(1, Standing::Accepted, None, Vec::new(), None).await;
        world.append(0, draft).await.unwrap();
        let change = vec![(place(1), Some(EventSn(3)))];
        let late = world.draft(1, Standing::Accepted, Some(first), change, Some(Vec::new())).await;
        world.purge(1, 1, first).await;
        // The first node still has the chunks in its cache, and remembers the head.
        assert!(finish(collector(&world.nodes[1])).await.chunks > 0);
        assert_eq!(world.append(0, late).await, None);
        world.check().await;
    }

    async fn a_state_that_comes_back_while_its_chunks_are_removed_is_whole(db: TestDatabase) {
        let mut world = World::new(&db, 1).await;
        for steps in 0.. {
            let draft = world.draft(1, Standing::Accepted, None, state_of(SEVERAL_CHUNKS), None).await;
            let event = world.append(0, draft).await.unwrap();
            let draft = world.draft(1, Standing::Accepted, None, Vec::new(), None).await;
            world.append(0, draft).await.unwrap();
            world.purge(0, 1, event).await;
            let mut collector = collector(&world.nodes[0]);
            let mut collected = None;
            for _ in 0..steps {
                collected = collected.or(collector.step().await.unwrap());
            }
            // Nothing of it is shown, so the room's last visible event is from before the collector began.
            let draft = world.draft(1, Standing::SoftFailed, None, state_of(SEVERAL_CHUNKS), Some(Vec::new())).await;
            let event = world.append(0, draft).await.unwrap();
            if collected.is_none() {
                finish(collector).await;
            }
            world.check().await;
            world.purge(0, 1, event).await;
            if collected.is_some() {
                return;
            }
        }
    }

    async fn a_state_that_was_missing_and_comes_back_in_another_room_is_whole(db: TestDatabase) {
        let mut world = World::new(&db, 2).await;
        let limits = CollectorLimits { at_once: 1, ..CollectorLimits::default() };
        let mut slow = ChunkCollector::with_limits(world.nodes[0].clone(), limits);
        let draft = world.draft(1, Standing::Accepted, None, state_of(SEVERAL_CHUNKS), None).await;
        let first = world.append(0, draft).await.unwrap();
        let small = vec![(place(1), Some(EventSn(9)))];
        let draft = world.draft(1, Standing::Accepted, None, small, None).await;
        world.append(0, draft).await.unwrap();
        // The other room's state has all the leaves but one in common with that of the first event.
        let mut similar = state_of(SEVERAL_CHUNKS);
        let changed = similar[0].0;
        let original = similar[0].1.replace(EventSn(9));
        let draft = world.draft(2, Standing::Accepted, None, similar, None).await;
        let in_other = world.append(0, draft).await.unwrap();

        // The position, the room, its roots; the state of the first event is the last to be read.
        for _ in 0..3 {
            slow.step().await.unwrap();
        }
        world.purge(0, 1, first).await;
        assert!(finish(collector(&world.nodes[1])).await.chunks > 0);
        for _ in 0..2 {
            slow.step().await.unwrap();
        }
        let draft = world.draft(2, Standing::Accepted, Some(in_other), vec![(changed, original)], None).await;
        world.append(0, draft).await.unwrap();
        world.purge(0, 2, in_other).await;
        finish(slow).await;
        world.check().await;
    }

    async fn whatever_happens_while_collectors_run_states_stay_whole(db: TestDatabase) {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::new(&db, 2).await;
        let mut under_way = Vec::new();
        let mut collectors = [collector(&world.nodes[0]), collector(&world.nodes[1])];
        let mut removed = 0;
        for turn in 0..6_000 {
            if random.random_bool(0.1) {
                happen(&mut world, &mut random, &mut under_way).await;
                under_way.truncate(5);
            }
            let which = random.random_range(0..collectors.len());
            let collected = collectors[which].step().await.unwrap();
            // Some come to their end, some are dropped half-way.
            if collected.is_some() || random.random_bool(0.001) {
                removed += collected.map_or(0, |collected| collected.chunks);
                collectors[which] = collector(&world.nodes[which]);
            }
            if turn % 300 == 0 {
                world.check().await;
            }
        }
        assert!(removed > 0);
        world.check().await;
        finish(collector(&world.nodes[0])).await;
        let (stored, needed) = world.chunks().await;
        assert_eq!(stored, needed);
        world.check().await;
    }

    async fn collectors_and_writers_at_the_same_time_do_not_disturb_each_other(db: TestDatabase) {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::new(&db, 2).await;
        let collecting = world.nodes.clone().into_iter().map(|node| {
            tokio::spawn(async move {
                for _ in 0..3 {
                    finish(collector(&node)).await;
                }
            })
        });
        let collecting: Vec<_> = collecting.collect();
        let mut under_way = Vec::new();
        while !collecting.iter().all(tokio::task::JoinHandle::is_finished) || world.events(1).len() < 3 {
            happen(&mut world, &mut random, &mut under_way).await;
            under_way.truncate(5);
        }
        for collecting in collecting {
            collecting.await.unwrap();
        }
        world.check().await;
    }
}
