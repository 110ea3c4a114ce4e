//! Texts that clients choose and that the server stores: what is too long is an error of the client, and costs nobody else anything.

use rand::Rng as _;
use rand::distr::Alphanumeric;
use serde_json::json;
use testing::{TestServer, on_both_databases, path_segment};

/// Text that no database can make shorter.
fn random(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

on_both_databases! {
    async fn names_that_are_too_long_are_the_clients_mistake(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        let event = alice.send_text(&room, "to be redacted").await;
        let path = |rest: &str| format!("/_matrix/client/v3/rooms/{}/{rest}", path_segment(&room));
        let put = |rest: String| alice.put(path(&rest)).json(&json!({ "body": "x" }));
        for length in [256, 4_500, 8_000] {
            let long = random(length);
            put(format!("send/m.room.message/{long}")).await.error(400, "M_INVALID_PARAM");
            put(format!("redact/{}/{long}", path_segment(&event))).await.error(400, "M_INVALID_PARAM");
            put(format!("send/{long}/1")).await.error(413, "M_TOO_LARGE");
            put(format!("state/{long}")).await.error(413, "M_TOO_LARGE");
            put(format!("state/{long}/")).await.error(413, "M_TOO_LARGE");
            put(format!("state/org.example/{long}")).await.error(413, "M_TOO_LARGE");
            // What is only looked for is not there.
            alice.get(path(&format!("state/{long}/{long}"))).await.error(404, "M_NOT_FOUND");
            alice.get(path(&format!("event/${long}"))).await.error(404, "M_NOT_FOUND");
        }
        // In bytes, not in characters.
        put(format!("send/m.room.message/{}", path_segment(&"\u{20AC}".repeat(86)))).await.error(400, "M_INVALID_PARAM");
        let longest = random(255);
        put(format!("send/{longest}/{longest}")).await.ok();
        put(format!("state/{longest}/{longest}")).await.ok();
    }
}
