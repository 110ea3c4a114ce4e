//! What another server asks this one.

use std::sync::Arc;
use std::time::Duration;

use homeserver_core::{Clock as _, FixedClock, SystemClock};
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use testing::{Answer, RemoteServer, TestServer, on_both_databases, path_segment};

use crate::{KEYS, V3, metrics, servers};

const OF_ALICE: &str = "/_matrix/federation/v1/query/profile?user_id=%40alice%3Alocalhost";

/// Asks as the other server.
async fn ask(server: &TestServer, remote: &RemoteServer, uri: &str) -> Answer {
    ask_with(server, uri, &remote.authorization("localhost", uri)).await
}

async fn ask_with(server: &TestServer, uri: &str, authorization: &str) -> Answer {
    server.client().get(uri).header(AUTHORIZATION, authorization).await
}

on_both_databases! {
    async fn profiles_and_aliases_of_this_server_are_told(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        let name = format!("{V3}/profile/{}/displayname", path_segment(&alice.id));
        alice.put(name).json(&json!({ "displayname": "Alice" })).await.ok();
        let room = alice.create_room(&json!({ "room_alias_name": "room" })).await;

        let answer = ask(&server, &remote, OF_ALICE).await.ok();
        assert_eq!(answer, json!({ "displayname": "Alice" }));
        let one = ask(&server, &remote, &format!("{OF_ALICE}&field=displayname")).await.ok();
        assert_eq!(one, json!({ "displayname": "Alice" }));
        ask(&server, &remote, &format!("{OF_ALICE}&field=avatar_url")).await.error(404, "M_NOT_FOUND");
        ask(&server, &remote, &OF_ALICE.replace("alice", "nobody")).await.error(404, "M_NOT_FOUND");
        ask(&server, &remote, &OF_ALICE.replace("localhost", "elsewhere.example")).await.error(400, "M_INVALID_PARAM");
        ask(&server, &remote, "/_matrix/federation/v1/query/profile").await.error(400, "M_MISSING_PARAM");

        let directory = "/_matrix/federation/v1/query/directory?room_alias=%23";
        let answer = ask(&server, &remote, &format!("{directory}room%3Alocalhost")).await.ok();
        assert_eq!(answer, json!({ "room_id": room, "servers": ["localhost"] }));
        ask(&server, &remote, &format!("{directory}none%3Alocalhost")).await.error(404, "M_NOT_FOUND");
        ask(&server, &remote, &format!("{directory}room%3Aelsewhere.example")).await.error(404, "M_NOT_FOUND");
        assert_eq!(remote.requests(KEYS).len(), 1, "the keys are asked for once");

        let version = server.client().get("/_matrix/federation/v1/version").await.ok();
        assert_eq!(version, json!({ "server": { "name": "synapse-rust", "version": env!("CARGO_PKG_VERSION") } }));
        server.shutdown().await;
    }

    async fn nobody_is_believed_who_does_not_prove_who_it_is(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        server.register("alice").await;
        server.client().get(OF_ALICE).await.error(401, "M_UNAUTHORIZED");
        let good = remote.authorization("localhost", OF_ALICE);
        for (what, bad) in [
            ("a token", "Bearer abc".to_owned()),
            ("no parameters", "X-Matrix".to_owned()),
            ("for another path", remote.authorization("localhost", "/_matrix/federation/v1/query/profile?user_id=%40eve%3Alocalhost")),
            ("for another server", remote.authorization("elsewhere.example", OF_ALICE)),
            ("the same, hidden", remote.authorization("elsewhere.example", OF_ALICE).replace("elsewhere.example", "localhost")),
            ("a key that nobody has", good.replace("ed25519:remote", "ed25519:other")),
            ("as this server", good.replace("remote.example", "localhost")),
            ("as a server that does not exist", good.replace("remote.example", "invalid.invalid")),
            ("no signature", good.split(",sig=").next().unwrap().to_owned()),
        ] {
            let answer = ask_with(&server, OF_ALICE, &bad).await.error(401, "M_UNAUTHORIZED");
            assert!(!answer["error"].as_str().unwrap().is_empty(), "{what}");
        }
        ask_with(&server, OF_ALICE, &good).await.ok();
        assert_eq!(remote.requests(KEYS).len(), 1, "a server is not asked for every key that somebody names");
        let without_destination = good.replace(r#"destination="localhost","#, "");
        ask_with(&server, OF_ALICE, &without_destination).await.ok();
        server.shutdown().await;
    }

    async fn a_server_that_is_down_keeps_its_keys(db: TestDatabase) {
        let remote = RemoteServer::start("remote.example").await;
        let clock = Arc::new(FixedClock::new(SystemClock.now()));
        let server = TestServer::start_at(clock.clone(), &db, &remote.settings()).await;
        server.register("alice").await;
        let good = remote.authorization("localhost", OF_ALICE);
        ask_with(&server, OF_ALICE, &good).await.ok();
        clock.advance(Duration::from_mins(2));
        remote.answer(KEYS, 500, "down");
        let unknown = good.replace("ed25519:remote", "ed25519:other");
        ask_with(&server, OF_ALICE, &unknown).await.error(401, "M_UNAUTHORIZED");
        assert_eq!(remote.requests(KEYS).len(), 2);
        ask_with(&server, OF_ALICE, &good).await.ok();
        server.shutdown().await;
    }

    async fn keys_that_are_no_proof_are_refused(db: TestDatabase) {
        let remote = RemoteServer::start("remote.example").await;
        let keys = remote.keys();
        let signed = remote.signed(&keys);
        let with = |key: &str, value: Value| {
            let mut keys = keys.clone();
            keys[key] = value;
            keys
        };
        let other = RemoteServer::start("remote.example").await;
        for (what, document) in [
            ("unsigned", keys.to_string()),
            ("changed", { let mut signed = signed.clone(); signed["valid_until_ts"] = json!(5); signed.to_string() }),
            ("of the past", remote.signed(&with("valid_until_ts", json!(1_000))).to_string()),
            ("of another server", remote.signed(&with("server_name", json!("other.example"))).to_string()),
            ("another server's", other.signed(&other.keys()).to_string()),
            ("no keys", remote.signed(&with("verify_keys", json!({}))).to_string()),
            ("no JSON", "oops".to_owned()),
            ("endless", " ".repeat(1 << 20)),
        ] {
            remote.answer(KEYS, 200, document);
            let server = TestServer::start_with(&db, &remote.settings()).await;
            let answer = ask(&server, &remote, OF_ALICE).await.error(401, "M_UNAUTHORIZED");
            assert!(answer["error"].as_str().unwrap().contains("remote.example"), "{what}: {answer}");
            server.shutdown().await;
        }
    }

    async fn so_many_servers_are_asked_for_their_keys_at_once(db: TestDatabase) {
        let limit = toml::toml! { running = 1 waiting = 0 longest_wait = "1s" };
        let (server, remote) = servers(&db, &[("limits", "server_keys", limit.into())]).await;
        remote.never_answer(KEYS);
        let slow = ask(&server, &remote, OF_ALICE);
        let other = async {
            while remote.requests(KEYS).is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let pretended = remote.authorization("localhost", OF_ALICE).replace("remote.example", "invalid.invalid");
            ask_with(&server, OF_ALICE, &pretended).await
        };
        tokio::select! {
            _ = slow => unreachable!("the other server never tells its keys"),
            refused = other => refused.error(503, "M_LIMIT_EXCEEDED"),
        };
        server.shutdown().await;
    }

    async fn an_address_that_names_many_servers_is_refused_and_known_servers_are_not(db: TestDatabase) {
        let rate = toml::toml! { per_second = 0.001 burst = 2 };
        let settings = [("rate_limits", "enabled", true.into()), ("rate_limits", "server_keys", rate.into())];
        let (server, remote) = servers(&db, &settings).await;
        server.register("alice").await;
        ask(&server, &remote, OF_ALICE).await.ok();
        let good = remote.authorization("localhost", OF_ALICE);
        let pretended = |number: u32| good.replace("remote.example", &format!("{number}.invalid"));
        ask_with(&server, OF_ALICE, &pretended(1)).await.error(401, "M_UNAUTHORIZED");
        for number in 2..5 {
            ask_with(&server, OF_ALICE, &pretended(number)).await.error(429, "M_LIMIT_EXCEEDED");
        }
        ask_with(&server, OF_ALICE, &pretended(1)).await.error(401, "M_UNAUTHORIZED");
        ask(&server, &remote, OF_ALICE).await.ok();
        server.shutdown().await;
    }

    async fn a_server_that_asks_too_much_is_delayed_and_refused(db: TestDatabase) {
        let rate = toml::toml! { window_size = "1h" sleep_limit = 3 sleep_delay = "300ms" reject_limit = 2 concurrent = 1 };
        let settings = [("rate_limits", "enabled", true.into()), ("rate_limits", "federation", rate.into())];
        let (server, remote) = servers(&db, &settings).await;
        server.register("alice").await;
        for _ in 0..3 {
            ask(&server, &remote, OF_ALICE).await.ok();
        }
        let began = std::time::Instant::now();
        let all = futures::future::join_all((0..4).map(|_| ask(&server, &remote, OF_ALICE))).await;
        assert!(began.elapsed().as_millis() >= 300);
        let (answered, refused): (Vec<Answer>, Vec<Answer>) = all.into_iter().partition(|answer| answer.status == 200);
        assert_eq!((answered.len(), refused.len()), (2, 2));
        for answer in refused {
            let error = answer.error(429, "M_LIMIT_EXCEEDED");
            assert_eq!(error["retry_after_ms"], 3_600_000);
        }
        let text = metrics(&server).await;
        assert!(text.contains("federation_requests_refused_total 2"), "{text}");
        server.shutdown().await;
    }
}
