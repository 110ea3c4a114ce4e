use serde_json::json;
use testing::{TestServer, on_both_databases};

use crate::V3;

on_both_databases! {
    async fn anybody_learns_which_versions_the_server_speaks(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let versions = server.client().get("/_matrix/client/versions").await.ok();
        assert!(versions["versions"].as_array().unwrap().contains(&json!("v1.19")));
        assert!(versions["unstable_features"].is_object());
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
