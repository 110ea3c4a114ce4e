use serde_json::json;
use testing::{TestServer, on_both_databases, path_segment};

use crate::V3;

on_both_databases! {
    async fn anybody_learns_which_versions_the_server_speaks(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let versions = server.client().get("/_matrix/client/versions").await.ok();
        // Of which every client in use knows one.
        assert!(versions["versions"].as_array().unwrap().contains(&json!("v1.1")));
        assert_eq!(versions["unstable_features"]["org.matrix.msc3916.stable"], true);
    }

    async fn the_table_that_claims_follow_from_is_true(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        for it in api::SPECIFIED_ENDPOINTS {
            let method = it.method.parse().unwrap();
            // Whatever it makes of the names: a path that it does not have is another answer.
            let path = it.path.replace(['{', '}'], "");
            let answer = server.client().request(method, &path).token(&alice.token).await;
            let is_unknown = answer.status == 405 || answer.json["errcode"] == "M_UNRECOGNIZED" && answer.status == 404;
            assert_eq!(it.is_served, !is_unknown, "{} {}: {answer}", it.method, it.path);
        }
    }

    async fn clients_that_go_by_versions_reach_later_endpoints_by_their_former_names(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let unstable = "/_matrix/client/unstable";
        let refresh = format!("{unstable}/org.matrix.msc2918/refresh");
        server.client().post(&refresh).json(&json!({ "refresh_token": "x" })).await.error(401, "M_UNKNOWN_TOKEN");
        let token = "org.matrix.msc3231/register/org.matrix.msc3231.login.registration_token/validity";
        let validity = server.client().get(format!("{unstable}/{token}?token=x")).await.ok();
        assert_eq!(validity, json!({ "valid": false }));
        let alice = server.register("alice").await;
        let field = format!("{unstable}/uk.tcpip.msc4133/profile/{}/org.example.mood", path_segment(&alice.id));
        alice.put(&field).json(&json!({ "org.example.mood": "fine" })).await.ok();
        let draft = "/_matrix/media/unstable/fi.mau.msc2246";
        let created = alice.post(format!("{draft}/create")).await.ok();
        let place = created["content_uri"].as_str().unwrap().strip_prefix("mxc://").unwrap();
        alice.put(format!("{draft}/upload/{place}")).body("hello").await.ok();
    }

    async fn a_browser_is_told_what_this_is(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let answer = server.client().get("/").await;
        assert_eq!(answer.status, 200);
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!(header("content-type"), "text/html; charset=utf-8");
        assert_eq!(header("x-content-type-options"), "nosniff");
        let policy = header("content-security-policy");
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        let page = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(page.contains("Matrix homeserver") && page.contains("<code>localhost</code>"), "{page}");
        assert!(!page.contains("<script"), "{page}");
        server.client().post("/").await.error(405, "M_UNRECOGNIZED");
    }

    async fn users_learn_what_they_can_do(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let capabilities = alice.get(format!("{V3}/capabilities")).await.ok()["capabilities"].clone();
        assert_eq!(capabilities["m.room_versions"]["default"], "12");
        let available = capabilities["m.room_versions"]["available"].as_object().unwrap();
        assert_eq!(available.len(), 12);
        assert!((1..=12).all(|version| available[&version.to_string()] == "stable"), "{available:?}");
        assert_eq!(capabilities["m.change_password"], json!({ "enabled": true }));
        server.client().get(format!("{V3}/capabilities")).await.error(401, "M_MISSING_TOKEN");
    }

    async fn the_default_version_of_rooms_is_that_of_the_configuration(db: TestDatabase) {
        let server = TestServer::start_with(&db, &[("rooms", "default_version", "10".into())]).await;
        let alice = server.register("alice").await;
        let capabilities = alice.get(format!("{V3}/capabilities")).await.ok();
        assert_eq!(capabilities["capabilities"]["m.room_versions"]["default"], "10");
    }

    async fn well_known_names_the_base_url_or_is_a_clean_404(db: TestDatabase) {
        let path = "/.well-known/matrix/client";
        let server = TestServer::start(&db).await;
        server.client().get(path).await.error(404, "M_NOT_FOUND");
        server.client().get("/.well-known/matrix/server").await.error(404, "M_NOT_FOUND");
        server.shutdown().await;
        let url = "https://matrix.example.org";
        let server = TestServer::start_with(&db, &[("server", "public_base_url", url.into())]).await;
        assert_eq!(server.client().get(path).await.ok(), json!({ "m.homeserver": { "base_url": url } }));
    }
}
