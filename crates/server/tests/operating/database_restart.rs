//! PostgreSQL itself is restarted, in order and by a crash, while people are sending.

use serde_json::json;
use testing::{PostgresServer, ServerProcess, StopMode};
use tokio::task::block_in_place;

use crate::{
    PROGRAM,
    load::{Load, are_there_once, is_undamaged},
};

const ROUNDS: usize = 2;
/// Messages before and after each restart.
const MESSAGES: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_postgresql_loses_nothing_that_was_acknowledged() {
    let postgres = block_in_place(PostgresServer::start);
    let db = postgres.database().await;
    let server = ServerProcess::start(PROGRAM, &db).await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    let load = Load::start(&server.client(), &alice, &room_id);
    for _ in 0..ROUNDS {
        for mode in [StopMode::Fast, StopMode::Immediate] {
            load.proceeds_by(MESSAGES).await;
            block_in_place(|| postgres.stop(mode));
            load.is_refused().await;
            block_in_place(|| postgres.start_again());
        }
    }
    load.proceeds_by(MESSAGES).await;
    let acknowledged = load.finish().await;
    are_there_once(&alice, &room_id, &acknowledged).await;
    is_undamaged(&server, &room_id).await;
    server.client().get("/health").await.ok();
}
