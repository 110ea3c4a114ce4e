//! Nothing after a position that cannot be explained is told.

use std::time::Duration;

use testing::{TestDatabase, on_both_databases};

use crate::world::{add, command, serve};

/// Takes a position, and writes down nothing of it.
const TAKE: &str = "UPDATE log_head SET position = position + 1";
const EXPLAIN: &str = "INSERT INTO log_entries (position, previous, node, written_at, entries) \
                       VALUES ($1, $1 - 1, 'other', 0, $2)";
const RESTORE: &str = "UPDATE log_head SET position = position - 1";

async fn is_lost(server: &storage::Database) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while server.lost_log().is_none() {
        assert!(std::time::Instant::now() < deadline, "the gap is not noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

on_both_databases! {
    async fn a_server_waits_for_what_is_missing_and_skips_nothing(db: TestDatabase) {
        let (server, witness) = serve(&db).await;
        let beside = command(&db).await;
        let known = add(&beside, 1).await.unwrap();
        witness.is_told(1).await;
        beside.write(async |tx| tx.execute(TAKE, &[]).await).await.unwrap();
        is_lost(&server).await;
        assert_eq!(server.lost_log().unwrap().known, known);
        // What is written meanwhile is told later, whoever writes it.
        add(&beside, 3).await.unwrap();
        add(&server, 4).await.unwrap();
        assert_eq!(witness.told().len(), 1);

        let missing = known.0 + 1;
        let entries = format!("[{{\"account\":[{missing},2,true]}}]");
        beside.write(async move |tx| tx.execute(EXPLAIN, storage::params![missing, &entries]).await).await.unwrap();
        witness.is_told(4).await;
        let told = witness.told();
        for (entry, number) in told.iter().zip(1..) {
            assert!(entry.contains(&format!("UserSn({number})")), "{told:?}");
        }
        let end = server.position().await.unwrap();
        assert!(server.catch_up(end, Duration::from_secs(5)).await.unwrap());
        assert!(server.lost_log().is_none());
    }

    async fn a_server_notices_that_the_log_has_become_shorter(db: TestDatabase) {
        let (server, witness) = serve(&db).await;
        let beside = command(&db).await;
        add(&beside, 1).await.unwrap();
        witness.is_told(1).await;
        beside.write(async |tx| tx.execute(RESTORE, &[]).await).await.unwrap();
        is_lost(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_a_newer_version_is_not_skipped() {
    let db = TestDatabase::postgres().await;
    let (server, witness) = serve(&db).await;
    let beside = command(&db).await;
    let newer = beside.write(async |tx: &mut storage::Tx| {
        tx.execute("UPDATE log_head SET position = position + 1", &[]).await?;
        let sql = "INSERT INTO log_entries (position, previous, node, written_at, entries) \
                   SELECT position, position - 1, 'newer', 0, '[{\"unheard_of\":[1]}]' FROM log_head";
        tx.execute(sql, &[]).await
    });
    newer.await.unwrap();
    is_lost(&server).await;
    assert!(witness.told().is_empty());
}
