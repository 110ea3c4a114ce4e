//! Spaces with their rooms, and summaries of rooms.

use serde_json::{Value, json};
use testing::{Answer, TestServer, User, on_both_databases, path_segment};

async fn space(user: &User, name: &str) -> String {
    let creation = json!({ "type": "m.space" });
    user.create_room(&json!({ "preset": "public_chat", "name": name, "creation_content": creation })).await
}

async fn room(user: &User, name: &str, preset: &str) -> String {
    user.create_room(&json!({ "preset": preset, "name": name })).await
}

async fn add(user: &User, space: &str, child: &str, content: Value) {
    let (space, child) = (path_segment(space), path_segment(child));
    let path = format!("/_matrix/client/v3/rooms/{space}/state/m.space.child/{child}");
    user.put(path).json(&content).await.ok();
}

async fn hierarchy(user: &User, space: &str, query: &str) -> Answer {
    user.get(format!("/_matrix/client/v1/rooms/{}/hierarchy?{query}", path_segment(space))).await
}

fn names(page: &Value) -> Vec<&str> {
    page["rooms"].as_array().unwrap().iter().map(|room| room["name"].as_str().unwrap_or("-")).collect()
}

on_both_databases! {
    async fn a_space_is_read_depth_first_and_in_order(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (root, inner) = (space(&alice, "root").await, space(&alice, "inner").await);
        let (a, b, c) =
            (room(&bob, "a", "public_chat").await, room(&bob, "b", "public_chat").await, room(&bob, "c", "public_chat").await);
        let (hidden, gone) = (room(&bob, "hidden", "private_chat").await, room(&bob, "gone", "public_chat").await);
        let via = json!({ "via": ["localhost"] });
        add(&alice, &root, &c, via.clone()).await;
        add(&alice, &root, &a, json!({ "via": ["localhost"], "order": "b", "suggested": true })).await;
        add(&alice, &root, &inner, json!({ "via": ["localhost"], "order": "a" })).await;
        add(&alice, &root, &hidden, via.clone()).await;
        add(&alice, &root, &gone, via.clone()).await;
        add(&alice, &root, &gone, json!({})).await;
        add(&alice, &root, "!nowhere:localhost", via.clone()).await;
        add(&alice, &inner, &b, via.clone()).await;
        add(&alice, &inner, &root, via.clone()).await;

        let page = hierarchy(&alice, &root, "").await.ok();
        assert_eq!(names(&page), ["root", "inner", "b", "a", "c"]);
        assert!(page["next_batch"].is_null());
        let children = page["rooms"][0]["children_state"].as_array().unwrap();
        let keys: Vec<_> = children.iter().map(|child| child["state_key"].as_str().unwrap()).collect();
        assert_eq!(keys, [&inner, &a, &c, &hidden, "!nowhere:localhost"]);
        assert!(children.iter().all(|child| child["origin_server_ts"].is_i64() && child["sender"] == alice.id));
        assert_eq!(page["rooms"][0]["room_version"], "12");
        assert_eq!(names(&hierarchy(&alice, &root, "max_depth=0").await.ok()), ["root"]);
        assert_eq!(names(&hierarchy(&alice, &root, "max_depth=1").await.ok()), ["root", "inner", "a", "c"]);
        let suggested = hierarchy(&alice, &root, "suggested_only=true").await.ok();
        assert_eq!(names(&suggested), ["root", "a"]);
        assert_eq!(suggested["rooms"][0]["children_state"].as_array().unwrap().len(), 1);

        let mut read = Vec::new();
        let mut from = String::new();
        loop {
            let page = hierarchy(&alice, &root, &format!("limit=1{from}")).await.ok();
            read.extend(names(&page).into_iter().map(str::to_owned));
            let Some(next) = page["next_batch"].as_str() else { break };
            from = format!("&from={next}");
        }
        assert_eq!(read, ["root", "inner", "b", "a", "c"]);
        // A node that has not kept the walk, as for another user, goes there from the beginning.
        let third = hierarchy(&bob, &root, "from=h1_3_100_all").await.ok();
        assert_eq!(names(&third), ["a", "c", "hidden"]);

        for query in ["limit=0", "limit=-1", "max_depth=-1", "from=x", "from=h1_1_2_all&max_depth=3", "suggested_only=5"] {
            hierarchy(&alice, &root, query).await.error(400, "M_INVALID_PARAM");
        }
        hierarchy(&alice, &hidden, "").await.error(403, "M_FORBIDDEN");
        hierarchy(&alice, "!nowhere:localhost", "").await.error(403, "M_FORBIDDEN");
        let path = format!("/_matrix/client/v1/rooms/{}/hierarchy", path_segment(&root));
        server.client().get(path).await.error(401, "M_MISSING_TOKEN");
        server.shutdown().await;
    }

    async fn a_summary_is_for_those_who_may_join_or_read(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let summary = async |user: Option<&User>, room: &str| {
            let path = format!("/_matrix/client/v1/room_summary/{}", path_segment(room));
            match user {
                Some(user) => user.get(path).await,
                None => server.client().get(path).await,
            }
        };
        let state = json!([{ "type": "m.room.encryption", "state_key": "", "content": { "algorithm": "m.megolm.v1.aes-sha2" } }]);
        let open = alice.create_room(&json!({ "preset": "public_chat", "room_alias_name": "open", "initial_state": state })).await;
        let found = summary(Some(&bob), "#open:localhost").await.ok();
        assert_eq!((&found["room_id"], &found["membership"], &found["encryption"]), (&json!(open), &json!("leave"), &json!("m.megolm.v1.aes-sha2")));
        assert!(found["children_state"].is_null() && found["allowed_room_ids"].is_null());
        assert!(summary(None, &open).await.ok()["membership"].is_null());

        let allow = json!([{ "type": "m.room_membership", "room_id": open }]);
        let rules = json!([{ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "restricted", "allow": allow } }]);
        let closed = alice.create_room(&json!({ "preset": "private_chat", "initial_state": rules })).await;
        assert_eq!(summary(Some(&alice), &closed).await.ok()["membership"], "join");
        summary(Some(&bob), &closed).await.error(404, "M_NOT_FOUND");
        summary(None, &closed).await.error(404, "M_NOT_FOUND");
        bob.join(&open).await;
        let found = summary(Some(&bob), &closed).await.ok();
        assert_eq!((&found["allowed_room_ids"], &found["membership"]), (&json!([open]), &json!("leave")));
        // The rule means nothing where the version of the room does not know it.
        let old = alice.create_room(&json!({ "preset": "private_chat", "room_version": "6", "initial_state": rules })).await;
        summary(Some(&bob), &old).await.error(404, "M_NOT_FOUND");
        let knock = json!([{ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } }]);
        let knock = alice.create_room(&json!({ "preset": "private_chat", "initial_state": knock })).await;
        assert_eq!(summary(None, &knock).await.ok()["join_rule"], "knock");
        let ban = format!("/_matrix/client/v3/rooms/{}/ban", path_segment(&open));
        alice.post(ban).json(&json!({ "user_id": bob.id })).await.ok();
        summary(Some(&bob), &open).await.error(404, "M_NOT_FOUND");
        summary(Some(&bob), "#none:localhost").await.error(404, "M_NOT_FOUND");
        server.shutdown().await;
    }
}
