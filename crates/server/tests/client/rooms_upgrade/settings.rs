//! What users have set for a room that is upgraded

use serde_json::{Value, json};
use testing::{TestServer, User, eventually, on_both_databases, path_segment};

use super::{set, upgrade};
use crate::V3;

fn tags_path(user: &User, room: &str) -> String {
    format!("{V3}/user/{}/rooms/{}/account_data/m.tag", path_segment(&user.id), path_segment(room))
}

fn direct_path(user: &User) -> String {
    format!("{V3}/user/{}/account_data/m.direct", path_segment(&user.id))
}

async fn put(user: &User, path: String, content: Value) {
    assert!(user.put(path).json(&content).await.ok().is_object());
}

async fn mute(user: &User, room: &str) {
    put(user, format!("{V3}/pushrules/global/room/{}", path_segment(room)), json!({ "actions": [] })).await;
}

/// The rooms that the user has rules for, the most important one first.
async fn muted(user: &User) -> Vec<String> {
    ids(&user.get(format!("{V3}/pushrules/")).await.ok()["global"])
}

fn ids(rules: &Value) -> Vec<String> {
    rules["room"].as_array().unwrap().iter().map(|rule| rule["rule_id"].as_str().unwrap().to_owned()).collect()
}

on_both_databases! {
    async fn tags_and_direct_chats_follow_those_who_come_along(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        for (user, other) in [(&alice, &bob), (&bob, &alice)] {
            let tags = json!({ "tags": { "m.favourite": { "order": 0.25 }, "u.work": {} } });
            put(user, tags_path(user, &room), tags).await;
            put(user, direct_path(user), json!({ other.id.clone(): ["!x:localhost", room], "@zoe:x": ["!y:x"] })).await;
        }
        let new = upgrade(&alice, &room, "12").await;
        let expected = |other: &User| json!({ other.id.clone(): ["!x:localhost", room, new], "@zoe:x": ["!y:x"] });
        assert_eq!(alice.get(direct_path(&alice)).await.ok(), expected(&bob));
        bob.get(tags_path(&bob, &new)).await.error(404, "M_NOT_FOUND");

        let since = bob.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        bob.join(&new).await;
        assert_eq!(bob.get(direct_path(&bob)).await.ok(), expected(&alice));
        for user in [&alice, &bob] {
            let tags = user.get(tags_path(user, &new)).await.ok();
            assert_eq!(tags, json!({ "tags": { "m.favourite": { "order": 0.25 }, "u.work": {} } }));
            assert_eq!(user.get(tags_path(user, &room)).await.ok(), tags);
        }
        let seen = bob.sync(Some(&since), 0).await;
        assert_eq!(seen["account_data"]["events"][0]["type"], "m.direct");
        assert_eq!(seen["rooms"]["join"][&new]["account_data"]["events"][0]["type"], "m.tag");
    }

    async fn what_a_user_has_set_for_the_new_room_stays(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        put(&bob, tags_path(&bob, &room), json!({ "tags": { "a": { "order": 0.1 }, "b": {} } })).await;
        let new = upgrade(&alice, &room, "11").await;
        put(&bob, tags_path(&bob, &new), json!({ "tags": { "a": { "order": 0.9 } } })).await;
        bob.join(&new).await;
        let tags = bob.get(tags_path(&bob, &new)).await.ok();
        assert_eq!(tags, json!({ "tags": { "a": { "order": 0.9 }, "b": {} } }));
    }

    async fn a_room_that_only_claims_to_be_the_successor_inherits_nothing(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, eve) = (server.register("alice").await, server.register("bob").await, server.register("eve").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        put(&bob, direct_path(&bob), json!({ alice.id.clone(): [room] })).await;
        let creation = json!({ "predecessor": { "room_id": room } });
        let claimed = eve.create_room(&json!({ "preset": "public_chat", "creation_content": creation })).await;
        bob.join(&claimed).await;
        assert_eq!(bob.get(direct_path(&bob)).await.ok(), json!({ alice.id.clone(): [room] }));

    }

    async fn an_upgrade_by_hand_counts_as_well_also_for_those_who_were_in_the_new_room_before(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        put(&bob, direct_path(&bob), json!({ alice.id.clone(): [room] })).await;
        put(&alice, tags_path(&alice, &room), json!({ "tags": { "u.work": {} } })).await;
        mute(&alice, &room).await;
        let creation = json!({ "predecessor": { "room_id": room } });
        let by_hand = alice.create_room(&json!({ "preset": "public_chat", "creation_content": creation })).await;
        assert_eq!(muted(&alice).await, [&*room]);
        // A room that says it is replaced by one that knows nothing of that puts no settings on it.
        let trap = bob.create_room(&json!({ "preset": "public_chat" })).await;
        alice.join(&trap).await;
        let quiet = alice.create_room(&json!({})).await;
        put(&alice, tags_path(&alice, &trap), json!({ "tags": { "u.trap": {} } })).await;
        set(&bob, &trap, "m.room.tombstone", "", json!({ "body": "x", "replacement_room": quiet })).await;
        let since = alice.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        set(&alice, &room, "m.room.tombstone", "", json!({ "body": "x", "replacement_room": by_hand })).await;
        bob.join(&by_hand).await;
        assert_eq!(bob.get(direct_path(&bob)).await.ok(), json!({ alice.id.clone(): [room, by_hand] }));

        let rules = async || {
            let seen = alice.sync(Some(&since), 1_000).await;
            let seen = seen["account_data"]["events"].as_array().cloned().unwrap_or_default();
            seen.into_iter().find(|event| event["type"] == "m.push_rules").map(|event| ids(&event["content"]["global"]))
        };
        assert_eq!(eventually("the rules in a sync", rules).await, [&*room, &*by_hand]);
        let tags = alice.get(tags_path(&alice, &by_hand)).await.ok();
        assert_eq!(tags, json!({ "tags": { "u.work": {} } }));
        alice.get(tags_path(&alice, &quiet)).await.error(404, "M_NOT_FOUND");
    }

    async fn push_rules_follow_those_who_come_along(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        for user in [&alice, &bob] {
            mute(user, &room).await;
        }
        // As some clients mute a room.
        let path = format!("{V3}/pushrules/global/override/{}", path_segment(&room));
        let conditions = json!([{ "kind": "event_match", "key": "room_id", "pattern": room }]);
        put(&bob, path, json!({ "conditions": conditions, "actions": [] })).await;
        let new = upgrade(&alice, &room, "12").await;
        assert_eq!(muted(&alice).await, [&*room, &*new]);
        assert_eq!(muted(&bob).await, [&*room], "bob has not come along yet");
        bob.join(&new).await;
        assert_eq!(muted(&bob).await, [&*room, &*new]);
        let copied = bob.get(format!("{V3}/pushrules/global/override/{}", path_segment(&new))).await.ok();
        assert_eq!(copied["conditions"], json!([{ "kind": "event_match", "key": "room_id", "pattern": new }]));
        // They decide: what is said in the new room is silent for bob.
        let path = format!("{V3}/rooms/{}/send/m.room.message/1", path_segment(&new));
        put(&alice, path, json!({ "msgtype": "m.text", "body": "hello" })).await;
        let seen = bob.sync(None, 0).await;
        assert_eq!(seen["rooms"]["join"][&new]["unread_notifications"]["notification_count"], 0);
    }
}
