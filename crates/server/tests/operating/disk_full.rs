//! A disk without room, on SQLite: the limit on the size of files has the same way through the program as a full disk, and
//! can be set on any machine.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;
use testing::{Request, ServerProcess, TestDatabase, User, path_segment};

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
