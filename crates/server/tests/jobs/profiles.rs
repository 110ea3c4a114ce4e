use serde_json::json;
use testing::{TestServer, on_both_databases, path_segment};

use crate::{V3, count, open};

on_both_databases! {
    async fn a_new_profile_is_told_in_all_rooms_and_changes_no_membership(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        alice.send_text(&room, "unread").await;
        let since = bob.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        let database = open(&db).await;
        let changes = async || count(&database, "SELECT COUNT(*) FROM membership_changes").await;
        assert_eq!(changes().await, 2);
        for name in ["Bob", "Bobby", "Robert"] {
            let path = format!("{V3}/profile/{}/displayname", path_segment(&bob.id));
            bob.put(path).json(&json!({ "displayname": name })).await.ok();
        }
        assert_eq!(changes().await, 2, "joining counts, and nothing else has happened");

        let answer = bob.sync(Some(&since), 0).await;
        let seen = &answer["rooms"]["join"][&room];
        let events = seen["timeline"]["events"].as_array().unwrap();
        assert_eq!(events.len(), 3, "only what is new: {seen}");
        assert_eq!(events[2]["content"]["displayname"], "Robert");
        assert_eq!((&seen["timeline"]["limited"], &seen["state"]["events"]), (&json!(false), &json!([])));
        assert_eq!(seen["unread_notifications"]["notification_count"], 1, "it is still unread: {seen}");

        let path = format!("{V3}/rooms/{}/leave", path_segment(&room));
        bob.post(&path).json(&json!({})).await.ok();
        bob.join(&room).await;
        assert_eq!(changes().await, 4);
        database.close().await;
    }
}
