//! What this server asks another one.

use std::time::Duration;

use http::header::{AUTHORIZATION, HOST};
use ruma::signatures::verify_json;
use serde_json::json;
use testing::{RemoteServer, TestServer, User, on_both_databases, path_segment};

use crate::{KEYS, V3, metrics, servers};

const PROFILE: &str = "/_matrix/federation/v1/query/profile";
const DIRECTORY: &str = "/_matrix/federation/v1/query/directory";

async fn profile(asker: &User, user_id: &str, rest: &str) -> testing::Answer {
    asker.get(format!("{V3}/profile/{}{rest}", path_segment(user_id))).await
}

on_both_databases! {
    async fn profiles_and_aliases_of_another_server_are_asked_for(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        remote.answer(PROFILE, 200, json!({ "displayname": "Bob", "m.tz": "Europe/Berlin" }).to_string());
        let answer = profile(&alice, "@b&b:remote.example", "").await.ok();
        assert_eq!(answer, json!({ "displayname": "Bob", "m.tz": "Europe/Berlin" }));
        assert_eq!(profile(&alice, "@bob:remote.example", "/displayname").await.ok(), json!({ "displayname": "Bob" }));
        profile(&alice, "@bob:remote.example", "/avatar_url").await.error(404, "M_NOT_FOUND");
        let uris: Vec<String> = remote.requests(PROFILE).into_iter().map(|request| request.uri).collect();
        assert_eq!(uris[0], format!("{PROFILE}?user_id=%40b%26b%3Aremote.example"));
        assert_eq!(uris[1], format!("{PROFILE}?user_id=%40bob%3Aremote.example&field=displayname"));

        let alias = format!("{V3}/directory/room/{}", path_segment("#room:remote.example"));
        let room = json!({ "room_id": "!room:remote.example", "servers": ["remote.example", "no server", "other.example:1"] });
        remote.answer(DIRECTORY, 200, room.to_string());
        let expected = json!({ "room_id": "!room:remote.example", "servers": ["remote.example", "other.example:1"] });
        assert_eq!(alice.get(&alias).await.ok(), expected);
        assert_eq!(remote.requests(DIRECTORY)[0].uri, format!("{DIRECTORY}?room_alias=%23room%3Aremote.example"));
        // The specification opens both to everybody.
        assert_eq!(server.client().get(&alias).await.ok(), expected);
        server.client().get(format!("{V3}/profile/%40bob%3Aremote.example")).await.ok();
        let text = metrics(&server).await;
        assert!(text.contains("federation_requests_sent_total{outcome=\"2xx\"} 6"), "{text}");
        server.shutdown().await;
    }

    async fn a_request_is_signed_by_the_published_key(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        profile(&alice, "@bob:remote.example", "").await.error(404, "M_NOT_FOUND");
        let request = remote.requests(PROFILE).remove(0);
        assert_eq!(request.headers[HOST], "remote.example");
        let header = request.headers[AUTHORIZATION].to_str().unwrap();
        let parameters = header.strip_prefix("X-Matrix ").unwrap().split(',');
        let parameter: std::collections::BTreeMap<_, _> =
            parameters.map(|pair| pair.split_once('=').unwrap()).map(|(name, value)| (name, value.trim_matches('"'))).collect();
        assert_eq!((parameter["origin"], parameter["destination"]), ("localhost", "remote.example"));

        let keys = server.client().get(KEYS).await.ok();
        assert_eq!(keys["server_name"], "localhost");
        let key = keys["verify_keys"][parameter["key"]]["key"].as_str().unwrap();
        let mut signed = json!({ "method": "GET", "uri": request.uri, "origin": "localhost", "destination": "remote.example" });
        signed["signatures"] = json!({ "localhost": { parameter["key"]: parameter["sig"] } });
        let key = ruma::serde::Base64::parse(key).unwrap();
        let known = [("localhost".to_owned(), [(parameter["key"].to_owned(), key)].into())].into();
        for object in [signed, keys] {
            verify_json(&known, &serde_json::from_value(object).unwrap()).unwrap();
        }
        server.shutdown().await;
    }

    async fn whatever_another_server_answers_is_an_error_that_says_so(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        let long = format!(r#"{{"displayname":"{}"}}"#, "x".repeat(1 << 20));
        let deep = "[".repeat(100_000);
        let quoted = format!(r#""{}""#, "x".repeat(100_000));
        for (status, body, expected) in [
            (404, "{}", (404, "M_NOT_FOUND")),
            (403, r#"{"errcode":"M_FORBIDDEN","error":"No profiles here"}"#, (403, "M_FORBIDDEN")),
            (500, "oops", (502, "M_UNKNOWN")),
            (302, "", (502, "M_UNKNOWN")),
            (200, "no JSON", (502, "M_UNKNOWN")),
            (200, "[]", (502, "M_UNKNOWN")),
            (200, &quoted, (502, "M_UNKNOWN")),
            (200, &long, (502, "M_UNKNOWN")),
            (200, &deep, (502, "M_UNKNOWN")),
        ] {
            remote.answer(PROFILE, status, body.to_owned());
            let answer = profile(&alice, "@bob:remote.example", "").await.error(expected.0, expected.1);
            let sentence = answer["error"].as_str().unwrap();
            assert!(sentence.contains("remote.example") && sentence.len() < 1_000, "{answer}");
        }
        // Nobody listens, and nothing is a name.
        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        profile(&alice, &format!("@bob:{unused}"), "").await.error(502, "M_CONNECTION_FAILED");
        profile(&alice, "@bob:invalid.invalid", "").await.error(502, "M_CONNECTION_FAILED");
        server.shutdown().await;
    }

    async fn a_server_with_another_certificate_is_told_nothing(db: TestDatabase) {
        let (trusted, impostor) = (RemoteServer::start("remote.example").await, RemoteServer::start("remote.example").await);
        let mut settings = impostor.settings();
        settings.push(("network", "trusted_ca", vec![trusted.certificate().display().to_string()].into()));
        let server = TestServer::start_with(&db, &settings).await;
        let alice = server.register("alice").await;
        profile(&alice, "@bob:remote.example", "").await.error(502, "M_CONNECTION_FAILED");
        assert!(impostor.requests(PROFILE).is_empty());
        server.shutdown().await;
    }

    async fn private_networks_are_reached_only_where_the_operator_says_so(db: TestDatabase) {
        let remote = RemoteServer::start("127.0.0.1").await;
        let name = format!("@bob:127.0.0.1:{}", remote.port());
        for is_allowed in [false, true] {
            let mut settings = remote.settings();
            settings.retain(|(_, key, _)| *key != "server_addresses");
            settings.push(("network", "allow_private_addresses", is_allowed.into()));
            let server = TestServer::start_with(&db, &settings).await;
            let asker = if is_allowed { User::log_in(&server.client(), "alice").await } else { server.register("alice").await };
            let answer = profile(&asker, &name, "").await;
            if is_allowed {
                answer.error(404, "M_NOT_FOUND");
            } else {
                let error = answer.error(502, "M_CONNECTION_FAILED");
                assert!(error["error"].as_str().unwrap().contains("allow_private_addresses"), "{error}");
            }
            assert_eq!(remote.requests(PROFILE).len(), usize::from(is_allowed));
            server.shutdown().await;
        }
    }

    async fn requests_to_others_have_a_limit(db: TestDatabase) {
        let limit = toml::toml! { running = 1 waiting = 0 longest_wait = "1s" };
        let (server, remote) = servers(&db, &[("limits", "federation_out", limit.into())]).await;
        let alice = server.register("alice").await;
        remote.never_answer(PROFILE);
        let slow = profile(&alice, "@bob:remote.example", "");
        let fast = async {
            while remote.requests(PROFILE).is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            profile(&alice, "@eve:remote.example", "").await
        };
        tokio::select! {
            _ = slow => unreachable!("the other server never answers"),
            refused = fast => refused.error(503, "M_LIMIT_EXCEEDED"),
        };
        let text = metrics(&server).await;
        assert!(text.contains("limit_refused_total{limit=\"federation_out\",reason=\"queue_full\"} 1"), "{text}");
        server.shutdown().await;
    }

    async fn a_server_without_federation_neither_asks_nor_answers(db: TestDatabase) {
        let (server, remote) = servers(&db, &[("federation", "enabled", false.into())]).await;
        let alice = server.register("alice").await;
        profile(&alice, "@bob:remote.example", "").await.error(403, "M_FORBIDDEN");
        assert!(remote.requests(PROFILE).is_empty());
        for path in [KEYS, "/_matrix/federation/v1/version", PROFILE] {
            server.client().get(path).await.error(404, "M_UNRECOGNIZED");
        }
        server.shutdown().await;
    }
}
