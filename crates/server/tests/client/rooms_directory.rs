//! Aliases and the directory of public rooms

use serde_json::{Value, json};
use testing::{Answer, TestServer, User, on_both_databases, path_segment};

fn alias_path(alias: &str) -> String {
    format!("/_matrix/client/v3/directory/room/{}", path_segment(alias))
}

async fn point(user: &User, alias: &str, room: &str) -> Answer {
    user.put(alias_path(alias)).json(&json!({ "room_id": room })).await
}

async fn set_canonical(user: &User, room: &str, content: Value) -> Answer {
    let path = format!("/_matrix/client/v3/rooms/{}/state/m.room.canonical_alias", path_segment(room));
    user.put(path).json(&content).await
}

on_both_databases! {
    async fn an_alias_points_to_its_room_until_it_is_removed(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let alias = "#ünï:localhost";
        point(&bob, alias, &room).await.error(403, "M_FORBIDDEN");
        point(&alice, "#a:elsewhere", &room).await.error(400, "M_INVALID_PARAM");
        point(&alice, alias, &room).await.ok();
        point(&alice, alias, &room).await.error(409, "M_UNKNOWN");
        assert_eq!(bob.get(alias_path(alias)).await.ok(), json!({ "room_id": room, "servers": ["localhost"] }));
        bob.join(alias).await;
        let list = format!("/_matrix/client/v3/rooms/{}/aliases", path_segment(&room));
        assert_eq!(bob.get(&list).await.ok()["aliases"], json!([alias]));

        bob.delete(alias_path(alias)).await.error(403, "M_FORBIDDEN");
        set_canonical(&alice, &room, json!({ "alias": alias, "alt_aliases": [alias] })).await.ok();
        alice.delete(alias_path(alias)).await.ok();
        alice.delete(alias_path(alias)).await.error(404, "M_NOT_FOUND");
        bob.get(alias_path(alias)).await.error(404, "M_NOT_FOUND");
        // The state does not name it any more, or naming it again would be let through.
        set_canonical(&alice, &room, json!({ "alias": alias })).await.error(400, "M_BAD_ALIAS");
    }

    async fn the_canonical_alias_points_to_the_room(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        alice.create_room(&json!({ "room_alias_name": "other" })).await;
        point(&alice, "#here:localhost", &room).await.ok();
        for (content, errcode) in [
            (json!({ "alias": "#nowhere:localhost" }), "M_BAD_ALIAS"),
            (json!({ "alias": "#other:localhost" }), "M_BAD_ALIAS"),
            (json!({ "alias": "#other:elsewhere" }), "M_BAD_ALIAS"),
            (json!({ "alias": "here" }), "M_INVALID_PARAM"),
            (json!({ "alias": 5 }), "M_INVALID_PARAM"),
            (json!({ "alias": "#here:localhost", "alt_aliases": ["here"] }), "M_INVALID_PARAM"),
            (json!({ "alias": "#here:localhost", "alt_aliases": {} }), "M_INVALID_PARAM"),
            (json!({ "alias": "#here:localhost", "alt_aliases": ["#other:localhost"] }), "M_BAD_ALIAS"),
        ] {
            set_canonical(&alice, &room, content).await.error(400, errcode);
        }
        set_canonical(&alice, &room, json!({ "alias": "#here:localhost", "alt_aliases": ["#here:localhost"] })).await.ok();
        set_canonical(&alice, &room, json!({ "alias": null })).await.ok();
    }

    async fn the_directory_is_paged_from_the_largest_room_to_the_smallest_and_back(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let mut rooms = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            rooms.push(alice.create_room(&json!({ "visibility": "public", "name": name })).await);
        }
        bob.join(&rooms[3]).await;
        let page = async |query: String| alice.get(format!("/_matrix/client/v3/publicRooms?limit=2{query}")).await.ok();
        let names = |page: &Value| -> String { page["chunk"].as_array().unwrap().iter().map(|room| room["name"].as_str().unwrap()).collect() };
        let token = |page: &Value, key: &str| format!("&since={}", page[key].as_str().unwrap());

        let first = page(String::new()).await;
        assert_eq!((names(&first).as_str(), &first["total_room_count_estimate"]), ("da", &json!(5)));
        assert_eq!((&first["chunk"][0]["num_joined_members"], &first["prev_batch"]), (&json!(2), &Value::Null));
        let second = page(token(&first, "next_batch")).await;
        assert_eq!(names(&second), "bc");
        let third = page(token(&second, "next_batch")).await;
        assert_eq!((names(&third).as_str(), &third["next_batch"]), ("e", &Value::Null));
        let back = page(token(&third, "prev_batch")).await;
        assert_eq!(names(&back), "bc");
        assert_eq!(names(&page(token(&back, "prev_batch")).await), "da");
        alice.get("/_matrix/client/v3/publicRooms?since=x").await.error(400, "M_INVALID_PARAM");
        alice.get("/_matrix/client/v3/publicRooms?limit=x").await.error(400, "M_INVALID_PARAM");
        alice.get("/_matrix/client/v3/publicRooms?server=invalid.invalid").await.error(502, "M_CONNECTION_FAILED");
    }

    async fn the_directory_can_be_searched(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let create = async |request: Value| alice.create_room(&request).await;
        let hall = create(json!({ "visibility": "public", "name": "Große Halle", "room_alias_name": "hall" })).await;
        let space = json!({ "visibility": "public", "topic": "Everything", "creation_content": { "type": "m.space" } });
        let space = create(space).await;
        create(json!({ "name": "Secret Halle" })).await;
        let search = async |filter: Value| {
            let answer = alice.post("/_matrix/client/v3/publicRooms").json(&json!({ "filter": filter })).await.ok();
            answer["chunk"].as_array().unwrap().iter().map(|room| room["room_id"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(search(json!({ "generic_search_term": "GROSSE" })).await, [json!(hall)]);
        assert_eq!(search(json!({ "generic_search_term": "ｈａｌｌｅ" })).await, [json!(hall)]);
        assert_eq!(search(json!({ "generic_search_term": "Kleine" })).await, Vec::<Value>::new());
        assert_eq!(search(json!({ "generic_search_term": "hALLE" })).await, [json!(hall)]);
        assert_eq!(search(json!({ "generic_search_term": "#hall" })).await, [json!(hall)]);
        assert_eq!(search(json!({ "room_types": ["m.space"] })).await, [json!(space)]);
        assert_eq!(search(json!({ "room_types": [null] })).await, [json!(hall)]);
        assert_eq!(search(json!({})).await.len(), 2);
        let bad = json!({ "filter": { "room_types": 5 } });
        alice.post("/_matrix/client/v3/publicRooms").json(&bad).await.error(400, "M_BAD_JSON");
    }

    async fn a_room_is_listed_by_those_who_may_change_its_alias(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let path = format!("/_matrix/client/v3/directory/list/room/{}", path_segment(&room));
        assert_eq!(bob.get(&path).await.ok(), json!({ "visibility": "private" }));
        bob.put(&path).json(&json!({ "visibility": "public" })).await.error(403, "M_FORBIDDEN");
        alice.put(&path).json(&json!({ "visibility": "hidden" })).await.error(400, "M_BAD_JSON");
        alice.put(&path).json(&json!({ "visibility": "public" })).await.ok();
        assert_eq!(server.client().get(&path).await.ok(), json!({ "visibility": "public" }));
        alice.get("/_matrix/client/v3/directory/list/room/!nowhere:localhost").await.error(404, "M_NOT_FOUND");
    }
}
