//! What connects the servers fails.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use storage::{Database, DatabaseOptions};
use testing::{PostgresServer, ServerProcess, StopMode, eventually};
use tokio::task::block_in_place;

use crate::world::{Follower, Nodes, PROGRAM, room_of_two, room_path};

const END_LISTENERS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                             WHERE datname = current_database() AND application_name = 'synapse-rust listener'";
const END_ALL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE datname = current_database() AND pid <> pg_backend_pid()";

async fn run(url: &str, sql: &'static str) {
    let database = Database::open(&DatabaseOptions::new(url)).await.unwrap();
    let _ = database.query(sql, &[], |_| Ok(())).await;
    database.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_go_on_when_their_connections_are_cut() {
    let nodes = Nodes::start(2).await;
    let (alice, bob, room_id) = room_of_two(&nodes).await;
    let mut bob_sees = Follower::start(nodes.at(1, &bob)).await.patient();
    let mut alice_sees = Follower::start(nodes.at(0, &alice)).await.patient();
    for round in 0..6 {
        run(nodes.db.url(), if round % 2 == 0 { END_LISTENERS } else { END_ALL }).await;
        let (question, answer) = (format!("question {round}"), format!("answer {round}"));
        let say = async |person: &testing::User, body: &str| {
            let path = room_path(&room_id, &format!("send/m.room.message/{}", testing::path_segment(body)));
            let message = json!({ "msgtype": "m.text", "body": body });
            eventually("an answer", async || {
                let said = person.put(&path).json(&message).await;
                (said.status == 200).then_some(())
            })
            .await;
        };
        say(&alice, &question).await;
        bob_sees.sees_message(&room_id, &question).await;
        say(&bob, &answer).await;
        alice_sees.sees_message(&room_id, &answer).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_go_on_when_postgresql_was_restarted() {
    let postgres = block_in_place(PostgresServer::start);
    let nodes = Nodes::start_on(postgres.database().await, 2, &[]).await;
    let (alice, bob, room_id) = room_of_two(&nodes).await;
    let mut bob_sees = Follower::start(nodes.at(1, &bob)).await.patient();
    for (round, mode) in [StopMode::Fast, StopMode::Immediate].into_iter().enumerate() {
        block_in_place(|| postgres.stop(mode));
        tokio::time::sleep(Duration::from_secs(1)).await;
        block_in_place(|| postgres.start_again());
        let body = format!("round {round}");
        let path = room_path(&room_id, &format!("send/m.room.message/{round}"));
        eventually("an answer", async || {
            let said = alice.put(&path).json(&json!({ "msgtype": "m.text", "body": body })).await;
            (said.status == 200).then_some(())
        })
        .await;
        bob_sees.sees_message(&room_id, &body).await;
    }
    for server in &nodes.servers {
        eventually("health", async || (server.client().get("/health").await.status == 200).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_typed_at_a_server_that_was_killed_types_no_longer() {
    let mut nodes = Nodes::start(2).await;
    let (alice, bob, room_id) = room_of_two(&nodes).await;
    let mut bob_sees = Follower::start(nodes.at(1, &bob)).await;
    let typing = room_path(&room_id, &format!("typing/{}", alice.id));
    alice.put(typing).json(&json!({ "typing": true, "timeout": 3_000 })).await.ok();
    bob_sees.sees_ephemeral(&room_id, "m.typing", |content| content["user_ids"] == json!([alice.id])).await;
    nodes.servers[0].kill().await;
    bob_sees.sees_ephemeral(&room_id, "m.typing", |content| content["user_ids"] == json!([])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_suspended_follows_up_and_misses_nothing() {
    let nodes = Nodes::start(2).await;
    let (alice, bob, room_id) = room_of_two(&nodes).await;
    let mut bob_sees = Follower::start(nodes.at(1, &bob)).await;
    nodes.servers[1].signal(Signal::STOP);
    for round in 0..20 {
        alice.send_text(&room_id, &format!("while it is away {round}")).await;
    }
    nodes.servers[1].signal(Signal::CONT);
    let room = bob_sees.sees_message(&room_id, "while it is away 19").await;
    assert_eq!(room["unread_notifications"]["notification_count"], 20);
    bob.send_text(&room_id, "here I am").await;
    alice.get("/_matrix/client/v3/sync?timeout=0").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_lost_track_says_so_and_answers_no_sync() {
    let nodes = Nodes::start(2).await;
    let (alice, bob, room_id) = room_of_two(&nodes).await;
    let mut bob_sees = Follower::start(nodes.at(1, &bob)).await;
    // Somebody takes a position and writes down nothing of it.
    let database = Database::open(&DatabaseOptions::new(nodes.db.url())).await.unwrap();
    let taken = database.write(async |tx: &mut storage::Tx| {
        tx.execute("UPDATE log_head SET position = position + 1", &[]).await?;
        let position = tx.query("SELECT position FROM log_head", &[], |row| row.get::<i64>(0)).await?;
        Ok(position[0])
    });
    let missing = taken.await.unwrap();
    for (server, user) in [(0, &alice), (1, &bob)] {
        let user = nodes.at(server, user);
        eventually("a refusal", async || {
            let answer = user.get("/_matrix/client/v3/sync?timeout=0").await;
            (answer.status == 503).then(|| answer.error(503, "M_UNKNOWN"))
        })
        .await;
        let health = nodes.servers[server].client().get("/health").await;
        assert_eq!(health.status, 503, "{health}");
        assert!(health.json.to_string().contains("log"), "{health}");
    }
    // Everything else still works.
    alice.send_text(&room_id, "found again").await;
    let sql =
        "INSERT INTO log_entries (position, previous, node, written_at, entries) VALUES ($1, $1 - 1, 'x', 0, '[]')";
    database.write(async move |tx| tx.execute(sql, storage::params![missing]).await).await.unwrap();
    database.close().await;
    for server in 0..2 {
        let client = nodes.servers[server].client();
        eventually("health", async || (client.get("/health").await.status == 200).then_some(())).await;
    }
    let user = nodes.at(1, &bob);
    bob_sees.go_to(user);
    bob_sees.sees_message(&room_id, "found again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_not_changed_under_servers_that_run() {
    let mut nodes = Nodes::start(2).await;
    let impatient = nodes.servers[0].run(&["signing-key", "rotate"]).await;
    assert!(!impatient.status.success());
    let refusal = String::from_utf8_lossy(&impatient.stderr).into_owned();
    assert!(refusal.contains("stop all servers first"), "{refusal}");
    for server in &mut nodes.servers {
        assert!(server.terminate().await.success());
    }
    let done = nodes.servers[0].run(&["signing-key", "rotate"]).await;
    assert!(done.status.success(), "{done:?}");
    nodes.servers[0].restart().await;
    nodes.servers[1].restart().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_another_key_is_refused() {
    let nodes = Nodes::start(1).await;
    let stranger = nodes.db.folder().join("stranger");
    std::fs::create_dir_all(&stranger).unwrap();
    let configuration = std::fs::read_to_string(nodes.db.folder().join("node0.toml")).unwrap();
    let own_key = configuration.replace("signing.key", "stranger/signing.key");
    let file = stranger.join("stranger.toml");
    std::fs::write(&file, own_key).unwrap();
    let started = tokio::process::Command::new(PROGRAM).arg("--config").arg(&file).env_clear().output().await.unwrap();
    assert!(!started.status.success());
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(said.contains("signing.key"), "{said}");
    drop::<Vec<ServerProcess>>(nodes.servers);
}
