//! A disk without room: the limit on the size of files has the same way through the program, or through PostgreSQL, as a full
//! disk, and can be set on any machine.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;
use storage::{Database, DatabaseOptions};
use testing::{PostgresServer, Request, ServerProcess, TestDatabase, User, path_segment};
use tokio::task::block_in_place;

use crate::{
    PROGRAM,
    load::{is_undamaged, messages},
};

/// The signal that comes with the limit would end the program; a full disk sends none.
const WITHOUT_SIGNAL: [&str; 3] = ["/bin/sh", "-c", r#"trap '' XFSZ; exec "$0" "$@""#];

fn limit_files(server: &ServerProcess, size_bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    let id = Pid::from_raw(server.id().unwrap().try_into().unwrap());
    prlimit(id, Resource::Fsize, Rlimit { current: size_bytes.or(maximum), maximum }).unwrap();
}

fn send(user: &User, room_id: &str, text: &str) -> Request {
    let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/{text}", path_segment(room_id));
    user.put(path).json(&json!({ "msgtype": "m.text", "body": text }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_nothing_else_until_there_is_room() {
    let db = TestDatabase::sqlite();
    let mut server = ServerProcess::start_within(&WITHOUT_SIGNAL, PROGRAM, &db, &[]).await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    send(&alice, &room_id, "before").await.ok();
    let since = alice.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();

    limit_files(&server, Some(0));
    for _ in 0..3 {
        let login = json!({
            "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "alice" },
            "password": "password of alice",
        });
        for request in [
            send(&alice, &room_id, "meanwhile"),
            alice.post("/_matrix/client/v3/createRoom").json(&json!({})),
            server.client().post("/_matrix/client/v3/login").json(&login),
            alice.post("/_matrix/media/v3/upload").body("a picture"),
        ] {
            let answer = request.await;
            assert!(answer.headers.contains_key("retry-after"), "{answer}");
            answer.error(503, "M_UNKNOWN");
        }
        assert_eq!(messages(&alice, &room_id).await, ["before"]);
        alice.sync(Some(&since), 0).await;
        alice.get("/_matrix/client/v3/devices").await.ok();
    }

    limit_files(&server, None);
    send(&alice, &room_id, "meanwhile").await.ok();
    send(&alice, &room_id, "after").await.ok();
    let synced = alice.sync(Some(&since), 0).await;
    let timeline = synced["rooms"]["join"][&room_id]["timeline"]["events"].as_array().unwrap();
    let texts: Vec<_> = timeline.iter().map(|event| event["content"]["body"].as_str().unwrap()).collect();
    assert_eq!(texts, ["meanwhile", "after"]);
    is_undamaged(&server, &room_id).await;

    server.kill().await;
    server.restart().await;
    let alice = alice.at(&server.client());
    assert_eq!(messages(&alice, &room_id).await, ["after", "meanwhile", "before"]);
}

/// A text that cannot be compressed to where it finds room in a page that is there.
fn long(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = format!("long {number} ");
    while text.len() < 30_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:x}"));
    }
    text
}

fn send_long(user: &User, room_id: &str, number: u64) -> Request {
    let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/long{number}", path_segment(room_id));
    user.put(path).json(&json!({ "msgtype": "m.text", "body": long(number) }))
}

/// The file in which PostgreSQL keeps what is too long for the rows of events.
async fn long_values_bytes(db: &TestDatabase) -> u64 {
    let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
    let sql = "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = 'events'";
    let size: i64 = database.query_optional(sql, &[], |row| row.get(0)).await.unwrap().unwrap();
    database.close().await;
    size.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_without_room_refuses_what_needs_more_and_nothing_else() {
    const LONG: u64 = 120;
    const HALF_A_PAGE: u64 = 4_096;
    let postgres = block_in_place(PostgresServer::start);
    let db = postgres.database().await;
    let server = ServerProcess::start(PROGRAM, &db).await;
    let alice = server.register("alice").await;
    let room_id = alice.create_room(&json!({})).await;
    for number in 0..LONG {
        send_long(&alice, &room_id, number).await.ok();
    }
    let since = alice.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();

    let size_bytes = long_values_bytes(&db).await;
    assert!(size_bytes > 2 << 20, "every other file is smaller: {size_bytes}");
    block_in_place(|| postgres.limit_files(Some(size_bytes + HALF_A_PAGE)));
    for _ in 0..3 {
        let answer = send_long(&alice, &room_id, LONG).await;
        assert!(answer.headers.contains_key("retry-after"), "{answer}");
        answer.error(503, "M_UNKNOWN");
        alice.sync(Some(&since), 0).await;
        alice.get("/_matrix/client/v3/devices").await.ok();
    }
    // There is room for this where other rows are.
    send(&alice, &room_id, "short").await.ok();

    block_in_place(|| postgres.limit_files(None));
    send_long(&alice, &room_id, LONG).await.ok();
    let texts = messages(&alice, &room_id).await;
    assert_eq!((texts[0].as_str(), texts[1].as_str()), (&*long(LONG), "short"));
    assert_eq!(texts.len() as u64, LONG + 2);
    is_undamaged(&server, &room_id).await;
}
