//! Events of other servers that are nested deeper than what clients may send.

use room_engine::RoomVersion;
use serde_json::json;
use testing::on_both_databases;

use super::room::{DEEP, Plan, Room, join, message, redaction, state, topic};
use super::server::Server;
use super::sync::Client;

/// State of a room with something deep in it, as another server sends it.
fn states() -> [Plan; 7] {
    let levels = json!({ "users": { "@alice:one": 100, "@bob:two": 50 }, "deep": DEEP });
    let of_bob = |event_type, state_key, content| state("@bob:two", event_type, state_key, content);
    [
        of_bob("m.room.topic", "", json!({ "topic": "t", "deep": DEEP })),
        of_bob("m.room.name", "", json!({ "name": "n", "deep": DEEP })),
        of_bob("m.room.member", "@bob:two", json!({ "membership": "join", "displayname": "Bob", "deep": DEEP })),
        of_bob("m.room.join_rules", "", json!({ "join_rule": "public", "allow": DEEP })),
        of_bob("m.room.history_visibility", "", json!({ "history_visibility": "shared", "deep": DEEP })),
        of_bob("m.room.power_levels", "", levels),
        of_bob("m.room.canonical_alias", "", json!({ "alt_aliases": DEEP })),
    ]
}

on_both_databases! {
    async fn a_deep_event_is_taken_in_and_what_follows_it_too(db: TestDatabase) {
        let server = Server::new(&db).await;
        let alice = Client::new(&server, "alice").await;
        for version in RoomVersion::ALL {
            let powers = json!({ "users": { "@bob:two": 50 } });
            let room = Room::with_levels(&server, version, &powers).await;
            let bob = room.accept(&join("@bob:two"), &[&room.end().await]).await;
            let since = alice.position();
            let deep = Plan { content: json!({ "body": "deep", "msgtype": "m.text", "deep": DEEP }), ..message("@bob:two", "") };
            let deep = room.accept(&deep, &[&bob]).await;
            let after = room.accept(&message("@bob:two", "after"), &[&deep]).await;
            let local = room.send(&message("@alice:one", "local")).await;
            assert_eq!(local.pdu.prev_events(), [after.id().to_owned()]);
            assert_eq!(room.stored(&deep).await.stored.client_json, *deep.pdu.client_json());
            for since in [Some(since), None] {
                let answer = String::from_utf8(alice.answer(since).await).unwrap();
                assert!(answer.contains(&"[".repeat(30_000)), "{version}");
                assert!(answer.contains(r#""highlight_count":0,"notification_count":2"#), "{version}");
            }
            room.accept(&redaction("@bob:two", deep.id()), &[&local]).await;
            assert!(room.is_redacted(&deep).await, "{version}");
        }
    }

    async fn deep_state_is_like_any_other(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in [RoomVersion::V1, RoomVersion::V6, RoomVersion::V11] {
            let powers = json!({ "users": { "@bob:two": 100 } });
            let room = Room::with_levels(&server, version, &powers).await;
            let mut end = room.accept(&join("@bob:two"), &[&room.end().await]).await;
            for plan in states() {
                room.accept(&plan, &[&end]).await;
                end = room.send(&message("@alice:one", "and now")).await;
            }
            // Branches meet over it.
            let first = room.accept(&topic("@bob:two", "first"), &[&end]).await;
            let second = room.accept(&topic("@bob:two", "second"), &[&end]).await;
            room.accept(&message("@bob:two", "both"), &[&first, &second]).await;
            room.send(&topic("@alice:one", "shallow")).await;
        }
    }
}
