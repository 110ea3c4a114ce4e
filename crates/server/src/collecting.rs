//! Removing the parts of rooms' states that nothing refers to any more, for as long as the server runs.

use std::{sync::Arc, time::Duration};

use rand::Rng as _;
use storage::{ChunkCollector, Database};
use telemetry::Metrics;
use tokio_util::sync::CancellationToken;

/// The first time is so long after the start, when clients have come back, and up to an hour later: nodes that start
/// together do not collect together.
const AFTER_START: Duration = Duration::from_mins(15);
const SPREAD: Duration = Duration::from_hours(1);
/// From the end of one time to the next.
const BETWEEN: Duration = Duration::from_hours(24);

/// Collects once a day until `stopping` is cancelled. Whatever it is doing then is dropped, which does no harm.
pub(crate) fn start(database: Database, metrics: Arc<Metrics>, stopping: CancellationToken) {
    let first = AFTER_START + rand::rng().random_range(Duration::ZERO..SPREAD);
    tokio::spawn(async move { stopping.run_until_cancelled(collect(&database, &metrics, first, BETWEEN)).await });
}

async fn collect(database: &Database, metrics: &Metrics, first: Duration, between: Duration) {
    tokio::time::sleep(first).await;
    loop {
        match ChunkCollector::new(database.clone()).run().await {
            Ok(collected) => {
                metrics.state_chunks_removed(collected.chunks, collected.bytes);
                let (removed, bytes, kept) = (collected.chunks, collected.bytes, collected.kept);
                tracing::info!(removed, bytes, kept, "removed chunks of states that nothing refers to");
            }
            Err(error) => tracing::warn!(%error, "chunks of states without use were not all removed"),
        }
        tokio::time::sleep(between).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use storage::{Database, DatabaseOptions, params};
    use telemetry::Metrics;
    use tokio::time::{sleep, timeout};

    const SHORT: Duration = Duration::from_millis(5);

    async fn add_chunk_without_use(database: &Database) {
        let add = async |tx: &mut storage::Tx| {
            let sql = "INSERT INTO state_chunks (chunk_id, bytes, written_at) VALUES ($1, $2, 0)";
            tx.execute(sql, params![&[7_u8; 20][..], &b"chunk"[..]]).await
        };
        database.write(add).await.unwrap();
    }

    #[tokio::test]
    async fn chunks_without_use_are_removed_again_and_again() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("homeserver.db").display());
        let database = Database::open(&DatabaseOptions::new(url)).await.unwrap();
        let metrics = Metrics::new().unwrap();
        let adding = async {
            for removed in 1..=3 {
                add_chunk_without_use(&database).await;
                let chunks = format!("state_chunks_removed_total {removed}\n");
                let bytes = format!("state_chunk_bytes_removed_total {}\n", 5 * removed);
                while !metrics.render().is_ok_and(|text| text.contains(&chunks) && text.contains(&bytes)) {
                    sleep(SHORT).await;
                }
            }
        };
        let both = async {
            tokio::select! {
                () = super::collect(&database, &metrics, SHORT, SHORT) => {}
                () = adding => {}
            }
        };
        timeout(Duration::from_secs(60), both).await.unwrap();
        database.close().await;
    }
}
