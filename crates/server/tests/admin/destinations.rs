use serde_json::json;
use storage::{Database, DatabaseOptions, FailingServer, Interned, Tx, params};
use testing::{TestServer, on_both_databases};

use crate::administrator;

const PATH: &str = "/_synapse/admin/v1/federation/destinations";

on_both_databases! {
    async fn destinations_are_listed_with_their_rooms_and_tried_again(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let root = administrator(&server).await;
        let room = root.create_room(&json!({})).await;
        let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
        let interned = Interned::new(database.clone());
        let room_sn = interned.room(&room).await.unwrap();
        for name in ["one.example", "two.example"] {
            let server_sn = interned.server(name).await.unwrap();
            let sql = "INSERT INTO room_servers (server_sn, room_sn) VALUES ($1, $2)";
            let join = async move |tx: &mut Tx| tx.execute(sql, params![server_sn, room_sn]).await.map(drop);
            database.write(join).await.unwrap();
        }
        interned.server("only-its-keys.example").await.unwrap();
        let (failing_since, next_attempt_at) = (homeserver_core::Timestamp(5_000), homeserver_core::Timestamp(i64::MAX >> 11));
        let failing = FailingServer { server_name: "two.example".to_owned(), failures: 2, failing_since, next_attempt_at };
        database.store_failing_server(failing).await.unwrap();

        let all = root.get(PATH).await.ok();
        assert_eq!(all["total"], 2);
        assert_eq!(all["destinations"][0]["destination"], "one.example");
        assert_eq!(all["destinations"][0]["failure_ts"], json!(null));
        assert_eq!(all["destinations"][0]["retry_interval"], 0);
        assert_eq!(all["destinations"][1]["failure_ts"], 5_000);
        assert_eq!(all["destinations"][1]["retry_interval"], 2_000);
        let page = root.get(format!("{PATH}?limit=1&dir=b")).await.ok();
        assert_eq!((&page["destinations"][0]["destination"], &page["next_token"]), (&json!("two.example"), &json!("1")));
        let page = root.get(format!("{PATH}?limit=1&dir=b&from=1")).await.ok();
        assert_eq!((&page["destinations"][0]["destination"], &page["next_token"]), (&json!("one.example"), &json!(null)));
        assert_eq!(root.get(format!("{PATH}?destination=wo.ex")).await.ok()["total"], 1);

        let rooms = root.get(format!("{PATH}/two.example/rooms")).await.ok();
        assert_eq!((&rooms["total"], &rooms["rooms"][0]["room_id"]), (&json!(1), &json!(room)));
        root.get(format!("{PATH}/unknown.example")).await.error(404, "M_NOT_FOUND");
        root.get(format!("{PATH}/unknown.example/rooms")).await.error(404, "M_NOT_FOUND");
        root.get(format!("{PATH}?dir=x")).await.error(400, "M_INVALID_PARAM");
        root.get(format!("{PATH}?order_by=failure_ts")).await.error(400, "M_INVALID_PARAM");
        let alice = server.register("alice").await;
        alice.get(PATH).await.error(403, "M_FORBIDDEN");

        root.post(format!("{PATH}/one.example/reset_connection")).json(&json!({})).await.error(400, "M_UNKNOWN");
        root.post(format!("{PATH}/two.example/reset_connection")).json(&json!({})).await.ok();
        assert_eq!(root.get(format!("{PATH}/two.example")).await.ok()["failure_ts"], json!(null));
        database.close().await;
        server.shutdown().await;
    }
}
