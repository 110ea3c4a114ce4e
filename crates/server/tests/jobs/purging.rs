use background::PurgeForgottenRooms;
use serde_json::{Value, json};
use storage::Database;
use testing::{TestServer, User, on_both_databases, path_segment};

use crate::{V3, count, run};

const OF_ROOMS: [&str; 19] = [
    "SELECT COUNT(*) FROM events WHERE room_sn = 1",
    "SELECT COUNT(*) FROM room_heads WHERE room_sn = 1",
    "SELECT COUNT(*) FROM current_state WHERE room_sn = 1",
    "SELECT COUNT(*) FROM state_changes WHERE room_sn = 1",
    "SELECT COUNT(*) FROM memberships WHERE room_sn = 1",
    "SELECT COUNT(*) FROM membership_changes WHERE room_sn = 1",
    "SELECT COUNT(*) FROM client_transactions WHERE room_sn = 1",
    "SELECT COUNT(*) FROM receipts WHERE room_sn = 1",
    "SELECT COUNT(*) FROM typing WHERE room_sn = 1",
    "SELECT COUNT(*) FROM fully_read WHERE room_sn = 1",
    "SELECT COUNT(*) FROM unread_floors WHERE room_sn = 1",
    "SELECT COUNT(*) FROM unread_differences WHERE room_sn = 1",
    "SELECT COUNT(*) FROM unread_silences WHERE room_sn = 1",
    "SELECT COUNT(*) FROM unread_totals WHERE room_sn = 1",
    "SELECT COUNT(*) FROM room_threads WHERE room_sn = 1",
    "SELECT COUNT(*) FROM room_aliases WHERE room_sn = 1",
    "SELECT COUNT(*) FROM room_heads WHERE is_published AND room_sn = 1",
    "SELECT COUNT(*) FROM account_data WHERE room_sn = 1",
    "SELECT COUNT(*) FROM room_purges",
];

async fn rows(database: &Database) -> Vec<i64> {
    let mut rows = Vec::new();
    for sql in OF_ROOMS {
        rows.push(count(database, sql).await);
    }
    rows
}

/// A room that is muted by one of its members, who types, with a thread, and receipts.
async fn has_much_of_everything_unread(alice: &User, bob: &User, room_id: &str) {
    let rooms = format!("{V3}/rooms/{}", path_segment(room_id));
    let root = alice.send_text(room_id, "root").await;
    let thread = json!({ "rel_type": "m.thread", "event_id": root });
    let message = json!({ "msgtype": "m.text", "body": "in the thread", "m.relates_to": thread });
    alice.put(format!("{rooms}/send/m.room.message/thread")).json(&message).await.ok();
    bob.post(format!("{rooms}/read_markers")).json(&json!({ "m.fully_read": root, "m.read": root })).await.ok();
    let typing = format!("{rooms}/typing/{}", path_segment(&bob.id));
    bob.put(typing).json(&json!({ "typing": true })).await.ok();
    let rule = format!("{V3}/pushrules/global/room/{}", path_segment(room_id));
    bob.put(rule).json(&json!({ "actions": [] })).await.ok();
}

async fn leave(user: &User, room_id: &str) {
    user.post(format!("{V3}/rooms/{}/leave", path_segment(room_id))).json(&json!({})).await.ok();
}

async fn forget(user: &User, room_id: &str) {
    user.post(format!("{V3}/rooms/{}/forget", path_segment(room_id))).json(&json!({})).await.ok();
}

async fn texts(user: &User, room_id: &str) -> Vec<Value> {
    let path = format!("{V3}/rooms/{}/messages?dir=b&limit=500", path_segment(room_id));
    let page = user.get(path).await.ok();
    page["chunk"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["content"]["body"].clone())
        .filter(Value::is_string)
        .collect()
}

on_both_databases! {
    async fn a_room_that_all_have_left_and_forgotten_is_gone_without_a_trace(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = json!({ "preset": "public_chat", "visibility": "public", "room_alias_name": "doomed" });
        let doomed = alice.create_room(&room).await;
        let kept = alice.create_room(&json!({ "preset": "public_chat" })).await;
        for room_id in [&doomed, &kept] {
            bob.join(room_id).await;
            has_much_of_everything_unread(&alice, &bob, room_id).await;
            for number in 0..300 {
                alice.send_text(room_id, &format!("message {number}")).await;
            }
            let path = format!("{V3}/user/{}/rooms/{}/account_data/m.x", path_segment(&bob.id), path_segment(room_id));
            bob.put(path).json(&json!({ "a": 1 })).await.ok();
        }
        let database = server.database();
        let chains = count(&database, "SELECT COUNT(*) FROM auth_chain_events").await;
        assert!(rows(&database).await[..17].iter().all(|rows| *rows > 0), "{:?}", rows(&database).await);

        leave(&alice, &doomed).await;
        forget(&alice, &doomed).await;
        leave(&bob, &doomed).await;
        for room_id in [&kept] {
            leave(&bob, room_id).await;
            forget(&bob, room_id).await;
        }
        run(&database, PurgeForgottenRooms {}).await;
        assert_eq!(texts(&bob, &doomed).await.len(), 302, "one who has left remembers it");
        forget(&bob, &doomed).await;
        let since = alice.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        run(&database, PurgeForgottenRooms {}).await;
        assert_eq!(rows(&database).await, [0; OF_ROOMS.len()]);
        assert!(count(&database, "SELECT COUNT(*) FROM auth_chain_events").await < chains);

        let join = bob.post(format!("{V3}/join/{}", path_segment(&doomed))).json(&json!({})).await;
        join.error(404, "M_NOT_FOUND");
        bob.get(format!("{V3}/directory/room/{}", path_segment("#doomed:localhost"))).await.error(404, "M_NOT_FOUND");
        assert_eq!(texts(&alice, &kept).await.len(), 302);
        alice.send_text(&kept, "still here").await;
        bob.join(&kept).await;
        let synced = alice.sync(Some(&since), 0).await;
        assert!(synced["rooms"]["join"][&kept].is_object(), "{synced}");
        bob.sync(None, 0).await;
        server.shutdown().await;
        let again = TestServer::start(&db).await;
        assert_eq!(texts(&alice.at(&again.client()), &kept).await.len(), 303);
        again.shutdown().await;
    }

    async fn who_has_deactivated_the_account_remembers_no_room(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        alice.create_room(&json!({})).await;
        let user = json!({ "type": "m.id.user", "user": "alice" });
        let auth = json!({ "type": "m.login.password", "identifier": user, "password": "password of alice" });
        alice.post(format!("{V3}/account/deactivate")).json(&json!({ "auth": auth })).await.ok();
        run(&server.database(), PurgeForgottenRooms {}).await;
        assert_eq!(rows(&server.database()).await, [0; OF_ROOMS.len()]);
        server.shutdown().await;
    }

    async fn a_room_to_which_somebody_is_invited_is_kept(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room_id = alice.create_room(&json!({ "preset": "public_chat", "invite": [bob.id] })).await;
        leave(&alice, &room_id).await;
        forget(&alice, &room_id).await;
        run(&server.database(), PurgeForgottenRooms {}).await;
        bob.join(&room_id).await;
        bob.send_text(&room_id, "alone").await;
        assert_eq!(texts(&bob, &room_id).await, ["alone"]);
        server.shutdown().await;
    }
}
