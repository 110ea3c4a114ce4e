use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::time::{Duration, Instant};

use homeserver_core::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};
use testing::{TestServer, on_both_databases, path_segment};
use tokio::time::sleep;

use crate::start;

const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that ends whoever asks it, while it is broken.
#[derive(Debug, Default)]
struct BrokenClock(AtomicBool);

impl Clock for BrokenClock {
    fn now(&self) -> Timestamp {
        assert!(!self.0.load(Ordering::SeqCst), "the clock is broken");
        SystemClock.now()
    }
}

/// The loops that `/health` shows as failing.
fn failing(health: &Value) -> Vec<&str> {
    health["background"]["failing"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

on_both_databases! {
    async fn a_healthy_server_tells_of_every_part(db: TestDatabase) {
        let server = start(&db, &[]).await;
        // Twice: at first the writer has to prove itself, then it has just committed.
        for _ in 0..2 {
            let health = server.client().get("/health").await.ok();
            assert_eq!(health["status"], "healthy", "{health}");
            assert!(health["database"]["latency_ms"].as_f64().unwrap() > 0.0);
            assert!(health["database"]["connections"].as_u64().unwrap() > 0);
            assert!(health["disk"]["available_bytes"].as_u64().unwrap() > 0);
            for part in ["database", "writer", "disk", "log", "background", "cache"] {
                assert_eq!(health[part]["status"], "healthy", "{part} in {health}");
            }
            assert!(health["version"].is_string() && health["uptime_seconds"].is_u64() && health["cache"]["hit_rate"].is_f64());
        }
        assert_eq!(server.client().get("/health/live").await.ok(), json!({ "status": "live" }));
        assert_eq!(server.client().get("/health/ready").await.ok(), json!({ "status": "ready" }));
    }

    async fn what_runs_in_the_background_goes_on_after_a_panic(db: TestDatabase) {
        let clock = Arc::new(BrokenClock::default());
        let server = TestServer::start_at(clock.clone(), &db, &[("jobs", "poll_interval", "1s".into())]).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        let typing = format!("/_matrix/client/v3/rooms/{}/typing/{}", path_segment(&room), path_segment(&alice.id));
        alice.put(&typing).json(&json!({ "typing": true, "timeout": 4_000 })).await.ok();
        clock.0.store(true, Ordering::SeqCst);
        let began = Instant::now();
        loop {
            let answer = server.client().get("/health").await;
            let ended = failing(&answer.json);
            if ended.contains(&"typing") && ended.contains(&"job dispatch") {
                assert_eq!((answer.status.as_u16(), &answer.json["status"]), (503, &json!("unhealthy")), "{answer}");
                break;
            }
            assert!(began.elapsed() < PATIENCE, "nothing is seen of it: {answer}");
            sleep(Duration::from_millis(200)).await;
        }
        clock.0.store(false, Ordering::SeqCst);

        let database = server.database();
        while !database.typing().await.unwrap().is_empty() {
            assert!(began.elapsed() < PATIENCE, "alice types for ever");
            sleep(Duration::from_millis(200)).await;
        }
        loop {
            let answer = server.client().get("/health").await;
            if answer.status == 200 && failing(&answer.json).is_empty() {
                break;
            }
            assert!(began.elapsed() < 2 * PATIENCE, "it does not get well: {answer}");
            sleep(Duration::from_millis(500)).await;
        }
    }
}
