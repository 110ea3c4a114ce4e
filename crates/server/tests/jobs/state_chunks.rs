use std::time::Duration;

use background::CollectStateChunks;
use storage::params;
use testing::{TestServer, on_both_databases};

use crate::run;

on_both_databases! {
    async fn chunks_without_use_are_removed_again_and_again(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let database = server.database();
        for removed in 1..=2 {
            let add = async |tx: &mut storage::Tx| {
                let sql = "INSERT INTO state_chunks (chunk_id, bytes, written_at) VALUES ($1, $2, 0)";
                tx.execute(sql, params![&[7_u8; 20][..], &b"chunk"[..]]).await
            };
            database.write(add).await.unwrap();
            let job = run(&database, CollectStateChunks {}).await;
            assert_eq!(job.progress.done, 1, "{job:?}");
            let lines =
                [format!("state_chunks_removed_total {removed}\n"), format!("state_chunk_bytes_removed_total {}\n", 5 * removed)];
            let shown = async {
                loop {
                    let text = server.client().get("/metrics").await;
                    let text = String::from_utf8_lossy(&text.body).into_owned();
                    if lines.iter().all(|line| text.contains(line)) {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(crate::LONG, shown).await.unwrap();
        }
        server.shutdown().await;
    }
}
