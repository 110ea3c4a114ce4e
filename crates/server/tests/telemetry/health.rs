use serde_json::json;
use testing::on_both_databases;

use crate::start;

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
            for part in ["database", "writer", "disk", "log", "cache"] {
                assert_eq!(health[part]["status"], "healthy", "{part} in {health}");
            }
            assert!(health["version"].is_string() && health["uptime_seconds"].is_u64() && health["cache"]["hit_rate"].is_f64());
        }
        assert_eq!(server.client().get("/health/live").await.ok(), json!({ "status": "live" }));
        assert_eq!(server.client().get("/health/ready").await.ok(), json!({ "status": "ready" }));
    }
}
