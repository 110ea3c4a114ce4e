//! What this server asks another one.

use std::io::Write as _;
use std::time::{Duration, Instant};

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
                answer.error(502, "M_CONNECTION_FAILED");
            }
            assert_eq!(remote.requests(PROFILE).len(), usize::from(is_allowed));
            server.shutdown().await;
        }
    }

    async fn no_error_tells_why_a_server_was_not_reached(db: TestDatabase) {
        let remote = RemoteServer::start("127.0.0.1").await;
        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let speechless = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std::thread::spawn({
            let listener = speechless.try_clone().unwrap();
            // Something that speaks no TLS.
            move || listener.incoming().for_each(|stream| drop(stream.map(|mut stream| stream.write_all(b"220 hello\r\n"))))
        });
        let listening = format!("127.0.0.1:{}", remote.port());
        let speechless = speechless.local_addr().unwrap().to_string();
        let names = [listening, speechless, unused.to_string(), "invalid.invalid".into(), "localhost:1".into(), "10.0.0.1".into()];
        for is_allowed in [false, true] {
            let settings = [("network", "allow_private_addresses", is_allowed.into())];
            let server = TestServer::start_with(&db, &settings).await;
            let anybody = server.client();
            for name in &names {
                if is_allowed && name == "10.0.0.1" {
                    continue;
                }
                let expected = json!({ "errcode": "M_CONNECTION_FAILED", "error": format!("{name} cannot be reached") });
                let paths = [
                    format!("{V3}/profile/{}", path_segment(&format!("@bob:{name}"))),
                    format!("{V3}/directory/room/{}", path_segment(&format!("#room:{name}"))),
                ];
                for path in paths {
                    let began = Instant::now();
                    assert_eq!(anybody.get(&path).await.error(502, "M_CONNECTION_FAILED"), expected, "{path}");
                    assert!(began.elapsed() >= Duration::from_secs(1), "{path}: {:?}", began.elapsed());
                }
                let forged = format!("X-Matrix origin=\"{name}\",destination=\"localhost\",key=\"ed25519:1\",sig=\"AAAA\"");
                let answer = anybody.get("/_matrix/federation/v1/query/profile?user_id=%40a%3Alocalhost").header(AUTHORIZATION, &forged);
                let expected = json!({ "errcode": "M_UNAUTHORIZED", "error": format!("The keys of {name} cannot be read") });
                assert_eq!(answer.await.error(401, "M_UNAUTHORIZED"), expected, "{name}");
            }
            server.shutdown().await;
        }
    }

    async fn nobody_takes_all_places_of_questions_to_other_servers(db: TestDatabase) {
        let four = toml::toml! { running = 4 waiting = 0 longest_wait = "1s" };
        let (server, remote) = servers(&db, &[("limits", "remote_queries", four.into())]).await;
        let (alice, anybody) = (server.register("alice").await, server.client());
        remote.never_answer(PROFILE);
        remote.answer(DIRECTORY, 200, json!({ "room_id": "!room:remote.example", "servers": [] }).to_string());
        let alias = format!("{V3}/directory/room/{}", path_segment("#room:remote.example"));
        let slow = async { anybody.get(format!("{V3}/profile/%40bob%3Aremote.example")).await };
        let meanwhile = async {
            while remote.requests(PROFILE).is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            anybody.get(&alias).await.error(503, "M_LIMIT_EXCEEDED");
            alice.get(&alias).await.ok();
        };
        tokio::select! {
            _ = slow => unreachable!("the other server never answers"),
            () = meanwhile => {}
        };
        server.shutdown().await;
    }

    async fn having_other_servers_asked_has_a_rate_by_user_or_else_by_address(db: TestDatabase) {
        let rate = toml::toml! { per_second = 0.001 burst = 2 };
        let settings = [("rate_limits", "enabled", true.into()), ("rate_limits", "remote_queries", rate.into())];
        let (server, remote) = servers(&db, &settings).await;
        let (alice, anybody) = (server.register("alice").await, server.client());
        remote.answer(PROFILE, 200, r#"{"displayname":"Bob"}"#);
        remote.answer(DIRECTORY, 200, json!({ "room_id": "!room:remote.example", "servers": [] }).to_string());
        let of_bob = format!("{V3}/profile/%40bob%3Aremote.example");
        let alias = format!("{V3}/directory/room/{}", path_segment("#room:remote.example"));
        anybody.get(&of_bob).await.ok();
        anybody.get(&alias).token("no token of anybody").await.ok();
        for path in [&of_bob, &format!("{of_bob}/displayname"), &alias] {
            anybody.get(path).await.error(429, "M_LIMIT_EXCEEDED");
        }
        profile(&alice, "@bob:remote.example", "").await.ok();
        alice.get(&alias).await.ok();
        profile(&alice, "@bob:remote.example", "").await.error(429, "M_LIMIT_EXCEEDED");
        // What is here is asked of nobody.
        anybody.get(format!("{V3}/profile/{}", path_segment(&alice.id))).await.ok();
        server.shutdown().await;
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
