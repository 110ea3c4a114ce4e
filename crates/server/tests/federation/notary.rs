//! Keys of other servers: where they are kept, and who vouches for them.

use http::header::AUTHORIZATION;
use ruma::CanonicalJsonObject;
use ruma::signatures::verify_json;
use serde_json::{Value, json};
use testing::{RemoteServer, TestServer, on_both_databases};

use crate::{KEYS, servers};

const QUERY: &str = "/_matrix/key/v2/query";
const OF_ALICE: &str = "/_matrix/federation/v1/query/profile?user_id=%40alice%3Alocalhost";

/// Checks that the server has signed the document with the key that it publishes.
fn is_signed_by(document: &Value, server: &str, published: &Value) {
    let keys = published["verify_keys"].as_object().unwrap().iter();
    let keys = keys.map(|(id, key)| (id.clone(), ruma::serde::Base64::parse(key["key"].as_str().unwrap()).unwrap()));
    let known = [(server.to_owned(), keys.collect())].into();
    let mut document: CanonicalJsonObject = serde_json::from_value(document.clone()).unwrap();
    let signatures = document["signatures"].as_object().unwrap().clone();
    let only = signatures.into_iter().filter(|(name, _)| name == server).collect();
    document.insert("signatures".to_owned(), ruma::CanonicalJsonValue::Object(only));
    verify_json(&known, &document).unwrap();
}

on_both_databases! {
    async fn this_server_vouches_for_the_keys_of_others(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let own = server.client().get(KEYS).await.ok();
        let of_remote = format!("{QUERY}/remote.example");
        for _ in 0..2 {
            let answer = server.client().get(&of_remote).await.ok();
            let [document] = answer["server_keys"].as_array().unwrap().as_slice() else { panic!("{answer}") };
            assert_eq!(document["verify_keys"], remote.keys()["verify_keys"]);
            is_signed_by(document, "remote.example", &remote.keys());
            is_signed_by(document, "localhost", &own);
        }
        assert_eq!(remote.requests(KEYS).len(), 1, "it is asked once");
        let own_by_query = server.client().get(format!("{QUERY}/localhost")).await.ok();
        assert_eq!(own_by_query["server_keys"][0], own);
        let wanted = json!({ "server_keys": {
            "remote.example": { "ed25519:remote": { "minimum_valid_until_ts": 1 } }, "localhost": {}, "gone.invalid": {},
        } });
        let answer = server.client().post(QUERY).json(&wanted).await.ok();
        let told = answer["server_keys"].as_array().unwrap().iter();
        let mut told: Vec<&str> = told.map(|document| document["server_name"].as_str().unwrap()).collect();
        told.sort_unstable();
        assert_eq!(told, ["localhost", "remote.example"]);
        let many: serde_json::Map<String, Value> = (0..101).map(|n| (format!("s{n}.invalid"), json!({}))).collect();
        server.client().post(QUERY).json(&json!({ "server_keys": many })).await.error(413, "M_TOO_LARGE");
        server.client().post(QUERY).json(&json!({})).await.error(400, "M_BAD_JSON");
        assert_eq!(server.client().get(format!("{QUERY}/gone.invalid")).await.ok(), json!({ "server_keys": [] }));
        server.shutdown().await;
    }

    async fn older_keys_are_told_if_the_server_tells_no_newer_ones(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        server.client().get(format!("{QUERY}/remote.example")).await.ok();
        remote.answer(KEYS, 500, "down");
        let far = format!("{QUERY}/remote.example?minimum_valid_until_ts=5000000000000");
        let answer = server.client().get(&far).await.ok();
        assert_eq!(answer["server_keys"][0]["server_name"], "remote.example", "what is known is told");
        server.shutdown().await;
    }

    async fn keys_outlive_a_restart(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        server.register("alice").await;
        let authorization = remote.authorization("localhost", OF_ALICE);
        server.client().get(OF_ALICE).header(AUTHORIZATION, &authorization).await.ok();
        server.shutdown().await;
        remote.never_answer(KEYS);
        let server = TestServer::start_with(&db, &remote.settings()).await;
        server.client().get(OF_ALICE).header(AUTHORIZATION, &authorization).await.ok();
        assert_eq!(remote.requests(KEYS).len(), 1);
        server.shutdown().await;
    }

    async fn a_trusted_notary_is_asked_for_the_keys_of_a_server_that_is_not_reached(db: TestDatabase) {
        let (notary, gone) = (RemoteServer::start("notary.example").await, RemoteServer::start("gone.invalid").await);
        let mut settings = notary.settings();
        settings.push(("federation", "trusted_key_servers", vec!["notary.example"].into()));
        let vouched = notary.signed(&gone.signed(&gone.keys()));
        let authorization = gone.authorization("localhost", OF_ALICE);
        for (what, document, is_believed) in [
            ("without its signature", gone.signed(&gone.keys()), false),
            ("without the server's", notary.signed(&gone.keys()), false),
            ("with both", vouched, true),
        ] {
            notary.answer(QUERY, 200, json!({ "server_keys": [document] }).to_string());
            let server = TestServer::start_with(&db, &settings).await;
            if what == "without its signature" {
                server.register("alice").await;
            }
            let answer = server.client().get(OF_ALICE).header(AUTHORIZATION, &authorization).await;
            if is_believed {
                answer.ok();
            } else {
                answer.error(401, "M_UNAUTHORIZED");
            }
            server.shutdown().await;
        }
        let question = notary.requests(QUERY).remove(0).json();
        assert!(question["server_keys"]["gone.invalid"]["ed25519:remote"].is_object(), "{question}");
    }
}
