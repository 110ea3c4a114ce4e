use std::{
    future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use homeserver_core::{Cache, MemoryBudget, SystemClock};
use serde_json::json;
use tokio::time::Instant;

use super::{CacheStatus, HealthChecks, HealthProbe, Readiness, Status};
use crate::{DiskSpace, Metrics};

const ROOMY: DiskSpace = DiskSpace { available_bytes: 1 << 30, size_bytes: 1 << 40 };

fn good() -> HealthChecks {
    HealthChecks {
        database: Box::new(|| Box::pin(future::ready(Ok(Duration::from_micros(500))))),
        writer: Box::new(|| Box::pin(future::ready(Ok(())))),
        last_commit: Box::new(|| None),
        disk: Box::new(|| Box::pin(future::ready(Ok(ROOMY)))),
        untold_for: Box::new(|| None),
        lost_for: Box::new(|| None),
        failing_loops: Box::new(Vec::new),
        is_stopping: Box::new(|| false),
    }
}

fn probe(checks: HealthChecks) -> HealthProbe {
    let metrics = Arc::new(Metrics::new().unwrap());
    metrics.observe_database(|| 2);
    HealthProbe::new("1.2.3", metrics, checks)
}

fn failing<T: 'static + Send>() -> super::Probe<T> {
    Box::new(|| Box::pin(future::ready(Err("gone".to_owned()))))
}

fn hanging<T: 'static + Send>() -> super::Probe<T> {
    Box::new(|| Box::pin(future::pending()))
}

#[tokio::test]
async fn a_healthy_server_says_so_in_the_promised_shape() {
    let health = probe(good()).check().await;
    assert!(health.is_healthy());
    let expected = json!({
        "status": "healthy",
        "version": "1.2.3",
        "database": { "status": "healthy", "connections": 2, "latency_ms": 0.5 },
        "writer": { "status": "healthy" },
        "disk": { "status": "healthy", "available_bytes": 1 << 30 },
        "log": { "status": "healthy" },
        "background": { "status": "healthy", "failing": [] },
        "cache": { "status": "healthy", "hit_rate": 0.0, "size_bytes": 0, "budget_bytes": 0 },
        "uptime_seconds": 0,
    });
    assert_eq!(serde_json::to_value(health).unwrap(), expected);
}

#[tokio::test]
async fn caches_are_strained_while_they_miss_what_they_had_to_drop() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let budget = MemoryBudget::new(1 << 20, Arc::new(SystemClock));
    let cache: Cache<u64, Arc<str>> = Cache::new(&budget, "texts");
    metrics.observe_caches(budget);
    let probe = HealthProbe::new("1.2.3", metrics, good());
    let ask = |keys: std::ops::Range<u64>| {
        for key in keys {
            cache.get_or_insert_with(&key, || "x".repeat(1_000).into());
        }
    };
    ask(0..500);
    assert_eq!(probe.check().await.cache.status, CacheStatus::Healthy, "nothing had to go yet");
    ask(0..20_000);
    let strained = probe.check().await;
    assert_eq!(strained.cache.status, CacheStatus::Strained);
    assert!(strained.is_healthy() && strained.cache.size_bytes > 500_000, "{strained:?}");
    assert_eq!(strained.cache.budget_bytes, 1 << 20);
    (0..100).for_each(|_| ask(19_950..20_000));
    assert_eq!(probe.check().await.cache.status, CacheStatus::Healthy);
}

#[tokio::test]
async fn a_server_is_unhealthy_when_any_part_is() {
    let full = DiskSpace { available_bytes: 1 << 20, ..ROOMY };
    let stuck = || Some(Duration::from_secs(31));
    for (part, checks) in [
        ("database", HealthChecks { database: failing(), ..good() }),
        ("writer", HealthChecks { writer: failing(), ..good() }),
        ("disk", HealthChecks { disk: failing(), ..good() }),
        ("disk", HealthChecks { disk: Box::new(move || Box::pin(future::ready(Ok(full)))), ..good() }),
        ("log", HealthChecks { untold_for: Box::new(stuck), ..good() }),
        ("log", HealthChecks { lost_for: Box::new(|| Some(Duration::ZERO)), ..good() }),
        ("background", HealthChecks { failing_loops: Box::new(|| vec!["typing"]), ..good() }),
    ] {
        let health = probe(checks).check().await;
        assert!(!health.is_healthy(), "{part}");
        let health = serde_json::to_value(health).unwrap();
        for other in ["database", "writer", "disk", "log", "background"] {
            let expected = if other == part { "unhealthy" } else { "healthy" };
            assert_eq!(health[other]["status"], expected, "{other} where {part} fails");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn parts_that_never_answer_are_unhealthy_after_five_seconds_together() {
    let started = Instant::now();
    let probe = probe(HealthChecks { database: hanging(), writer: hanging(), disk: hanging(), ..good() });
    let health = probe.check().await;
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    assert_eq!((health.database.latency_ms, health.disk.available_bytes), (None, None));
    let unhealthy = [health.status, health.database.status, health.writer.status, health.disk.status];
    assert_eq!(unhealthy, [Status::Unhealthy; 4]);
    assert!(!probe.check().await.is_healthy());
    assert_eq!(probe.readiness().await, Readiness::Unhealthy);
    // A later caller does not wait for a question that is known to hang.
    assert_eq!(started.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_writer_proves_itself_only_when_it_has_had_nothing_to_do() {
    let (tries, idle_s) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, idle) = (tries.clone(), idle_s.clone());
    let probe = probe(HealthChecks {
        writer: Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            Box::pin(future::ready(Ok(())))
        }),
        last_commit: Box::new(move || Some(Duration::from_secs(idle.load(Ordering::SeqCst) as u64))),
        ..good()
    });
    probe.check().await;
    assert_eq!(tries.load(Ordering::SeqCst), 0);
    idle_s.store(40, Ordering::SeqCst);
    for _ in 0..5 {
        assert!(probe.check().await.is_healthy());
    }
    assert_eq!(tries.load(Ordering::SeqCst), 1);
    tokio::time::sleep(Duration::from_secs(31)).await;
    probe.check().await;
    assert_eq!(tries.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_server_is_ready_until_it_stops_or_its_database_does() {
    assert_eq!(probe(good()).readiness().await, Readiness::Ready);
    let stopping = HealthChecks { is_stopping: Box::new(|| true), database: hanging(), ..good() };
    assert_eq!(probe(stopping).readiness().await, Readiness::Stopping);
    let without_database = HealthChecks { database: failing(), ..good() };
    assert_eq!(probe(without_database).readiness().await, Readiness::Unhealthy);
    assert_eq!(serde_json::to_value(Readiness::Ready).unwrap(), json!({ "status": "ready" }));
}
