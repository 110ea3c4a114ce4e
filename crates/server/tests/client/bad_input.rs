//! What is wrong with a request is told with the error and status of the specification, wherever it stands.

use http::Method;
use serde_json::json;
use testing::{TestServer, on_both_databases, path_segment};

use crate::V3;

on_both_databases! {
    async fn bodies_that_are_no_json_and_values_that_matrix_does_not_have_are_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let user = path_segment(&alice.id);
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        let posts = [format!("{V3}/login"), format!("{V3}/register"), format!("{V3}/user/{user}/filter"), format!("{V3}/refresh")];
        let puts = [format!("{V3}/user/{user}/account_data/x"), format!("{V3}/profile/{user}/displayname")];
        let requests = posts.map(|path| (Method::POST, path)).into_iter().chain(puts.map(|path| (Method::PUT, path)));
        for (method, path) in requests {
            for (body, errcode) in [
                ("{", "M_NOT_JSON"),
                ("nonsense", "M_NOT_JSON"),
                ("[]", "M_BAD_JSON"),
                ("null", "M_BAD_JSON"),
                (r#"{"type": "\ud800"}"#, "M_BAD_JSON"),
                (r#"{"x": 9007199254740992}"#, "M_BAD_JSON"),
                (r#"{"x": -123456789012345678901234567890}"#, "M_BAD_JSON"),
                (deep.as_str(), "M_BAD_JSON"),
            ] {
                let request = server.client().request(method.clone(), &path).token(&alice.token);
                request.body(body.to_owned()).await.error(400, errcode);
            }
            let request = server.client().request(method.clone(), &path).token(&alice.token);
            request.body(b"{\"x\": \"\xff\"}".to_vec()).await.error(400, "M_NOT_JSON");
        }
    }

    async fn a_wrong_type_is_named(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        for (path, body, key) in [
            ("login", json!({ "type": "m.login.password", "device_id": 5 }), "device_id: "),
            ("login", json!({ "type": "m.login.password", "identifier": { "type": [] } }), "identifier.type: "),
            ("login", json!({ "type": "m.login.password", "user": "a\u{0}b" }), "user: "),
            ("register", json!({ "auth": { "session": {} } }), "auth.session: "),
            ("register", json!({ "auth": [] }), "auth: "),
            ("register", json!({ "inhibit_login": "yes" }), "inhibit_login: "),
        ] {
            let answer = server.client().post(format!("{V3}/{path}")).json(&body).await.error(400, "M_BAD_JSON");
            assert!(answer["error"].as_str().unwrap().starts_with(key), "{answer}");
        }
    }

    async fn unknown_paths_and_methods_and_endless_bodies_are_told_apart(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let client = server.client();
        client.get(format!("{V3}/nothing")).await.error(404, "M_UNRECOGNIZED");
        client.delete(format!("{V3}/login")).await.error(405, "M_UNRECOGNIZED");
        client.post(format!("{V3}/login")).body(vec![b' '; 2 << 20]).await.error(413, "M_TOO_LARGE");
        client.get(format!("{V3}/profile/%ff")).await.error(400, "M_INVALID_PARAM");
        client.get(format!("{V3}/register/available?username=%ff")).await.error(400, "M_INVALID_PARAM");
        let preflight = client.request(Method::OPTIONS, format!("{V3}/nothing")).await;
        assert_eq!(preflight.status, 200);
        assert_eq!(preflight.headers["access-control-allow-origin"], "*");
    }
}
