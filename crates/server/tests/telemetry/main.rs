//! What a running server tells about itself: logs, traces, metrics, and what is made of them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail loudly in the functions around it too"
)]

mod collector;
mod health;
mod logs;
mod metrics;
mod traces;

use testing::{Client, ServerProcess, Setting, TestDatabase};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse-rust");

async fn start(db: &TestDatabase, settings: &[(&str, toml::Value)]) -> ServerProcess {
    let settings: Vec<Setting<'_>> = settings.iter().map(|(key, value)| ("telemetry", *key, value.clone())).collect();
    ServerProcess::start_with(PROGRAM, db, &settings).await
}

async fn metrics_text(client: &Client) -> String {
    let answer = client.get("/metrics").await;
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// The value of one line of the metrics.
async fn metric(client: &Client, line: &str) -> Option<f64> {
    let text = metrics_text(client).await;
    text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.parse().ok())
}
