//! What another server asks of the directory, the devices and the keys of this one.

use http::Method;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use testing::{Answer, RemoteServer, TestServer, User, on_both_databases, path_segment};

use crate::{V3, servers};

const PUBLIC_ROOMS: &str = "/_matrix/federation/v1/publicRooms";
const QUERY: &str = "/_matrix/federation/v1/user/keys/query";
const CLAIM: &str = "/_matrix/federation/v1/user/keys/claim";

async fn get(server: &TestServer, remote: &RemoteServer, uri: &str) -> Answer {
    server.client().get(uri).header(AUTHORIZATION, &remote.authorization("localhost", uri)).await
}

async fn post(server: &TestServer, remote: &RemoteServer, uri: &str, body: Value) -> Answer {
    let authorization = remote.authorization_of(&Method::POST, "localhost", uri, Some(&body));
    server.client().post(uri).header(AUTHORIZATION, &authorization).json(&body).await
}

/// Uploads identity keys and one one-time key.
async fn upload_keys(user: &User) {
    let (id, device_id) = (&user.id, &user.device_id);
    let keys = json!({
        "device_keys": {
            "user_id": id,
            "device_id": device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": { format!("ed25519:{device_id}"): "key", format!("curve25519:{device_id}"): "key" },
            "signatures": {},
        },
        "one_time_keys": { "signed_curve25519:A": { "key": "one", "signatures": {} } },
    });
    user.post(format!("{V3}/keys/upload")).json(&keys).await.ok();
}

on_both_databases! {
    async fn the_directory_of_this_server_is_told(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        let mut rooms = Vec::new();
        for name in ["one", "two"] {
            rooms.push(alice.create_room(&json!({ "preset": "public_chat", "visibility": "public", "name": name })).await);
        }
        let first = get(&server, &remote, &format!("{PUBLIC_ROOMS}?limit=1")).await.ok();
        assert_eq!(first["chunk"].as_array().unwrap().len(), 1);
        let since = first["next_batch"].as_str().unwrap();
        let second = get(&server, &remote, &format!("{PUBLIC_ROOMS}?limit=1&since={}", path_segment(since))).await.ok();
        assert_ne!(first["chunk"][0]["room_id"], second["chunk"][0]["room_id"]);
        let found = post(&server, &remote, PUBLIC_ROOMS, json!({ "filter": { "generic_search_term": "TWO" } })).await.ok();
        assert_eq!(found["chunk"][0]["room_id"], *rooms[1]);
        assert_eq!(found["chunk"].as_array().unwrap().len(), 1);

        get(&server, &remote, &format!("{PUBLIC_ROOMS}?since=x")).await.error(400, "M_INVALID_PARAM");
        post(&server, &remote, PUBLIC_ROOMS, json!({ "filter": 5 })).await.error(400, "M_BAD_JSON");
        server.client().get(PUBLIC_ROOMS).await.error(401, "M_UNAUTHORIZED");
        get(&server, &remote, "/_matrix/federation/v1/query/weather").await.error(404, "M_NOT_FOUND");
        server.shutdown().await;
    }

    async fn the_directory_of_another_server_is_asked_for(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        let room = json!({ "room_id": "!room:remote.example", "num_joined_members": 3, "name": "There", "odd": "x" });
        let page = json!({ "chunk": [room], "next_batch": "further", "total_room_count_estimate": 7 });
        remote.answer(PUBLIC_ROOMS, 200, page.to_string());
        let path = format!("{V3}/publicRooms?server=remote.example");
        let expected = json!({
            "room_id": "!room:remote.example", "num_joined_members": 3, "name": "There",
            "world_readable": false, "guest_can_join": false,
        });
        let told = alice.get(format!("{path}&limit=5&since=x")).await.ok();
        assert_eq!(told, json!({ "chunk": [expected], "next_batch": "further", "total_room_count_estimate": 7 }));
        alice.post(&path).json(&json!({ "filter": { "generic_search_term": "a" } })).await.ok();
        // The specification opens the list to everybody.
        server.client().get(&path).await.ok();
        let asked: Vec<Value> = remote.requests(PUBLIC_ROOMS).iter().map(|request| request.json()).collect();
        assert_eq!(asked[0], json!({ "limit": 5, "since": "x", "filter": {} }));
        assert_eq!(asked[1], json!({ "filter": { "generic_search_term": "a" } }));

        remote.answer(PUBLIC_ROOMS, 403, r#"{"errcode":"M_FORBIDDEN","error":"No"}"#);
        alice.get(&path).await.error(403, "M_FORBIDDEN");
        remote.answer(PUBLIC_ROOMS, 200, r#"{"chunk":[{"room_id":"no room"}]}"#);
        alice.get(&path).await.error(502, "M_UNKNOWN");
        server.shutdown().await;
    }

    async fn devices_and_keys_of_users_here_are_told(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        upload_keys(&alice).await;
        let name = format!("{V3}/devices/{}", alice.device_id);
        alice.put(name).json(&json!({ "display_name": "Phone" })).await.ok();

        let of = |user_id: &str| format!("/_matrix/federation/v1/user/devices/{}", path_segment(user_id));
        let devices = get(&server, &remote, &of(&alice.id)).await.ok();
        assert_eq!((&devices["user_id"], &devices["devices"][0]["device_id"]), (&json!(alice.id), &json!(alice.device_id)));
        assert!(devices["stream_id"].as_i64().unwrap() > 0);
        assert!(!devices.to_string().contains("Phone"), "what users call their devices is their matter");
        get(&server, &remote, &of("@nobody:localhost")).await.error(404, "M_NOT_FOUND");
        get(&server, &remote, &of("@bob:remote.example")).await.error(404, "M_NOT_FOUND");

        let wanted = json!({ "device_keys": { &alice.id: [], "@bob:remote.example": [], "@nobody:localhost": [] } });
        let keys = post(&server, &remote, QUERY, wanted).await.ok();
        let shown = &keys["device_keys"][&alice.id][&alice.device_id];
        assert_eq!(*shown, devices["devices"][0]["keys"]);
        assert!(shown.get("unsigned").is_none() && keys["device_keys"].as_object().unwrap().len() == 1, "{keys}");

        let claim = json!({ "one_time_keys": { &alice.id: { &alice.device_id: "signed_curve25519", "a\0b": "signed_curve25519" } } });
        let claimed = post(&server, &remote, CLAIM, claim.clone()).await.ok();
        assert_eq!(claimed["one_time_keys"][&alice.id][&alice.device_id]["signed_curve25519:A"]["key"], "one");
        assert_eq!(post(&server, &remote, CLAIM, claim).await.ok(), json!({ "one_time_keys": {} }), "nobody gets it again");
        server.client().post(QUERY).json(&json!({ "device_keys": {} })).await.error(401, "M_UNAUTHORIZED");
        server.shutdown().await;
    }
}
