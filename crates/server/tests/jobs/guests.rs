use serde_json::json;
use testing::{ServerProcess, on_both_databases, path_segment};

use crate::{LONG, V3, open};

const GUESTS: usize = 40;
const IN_THE_ROOM: &str = "SELECT COUNT(*) FROM memberships m JOIN accounts a ON a.user_sn = m.user_sn \
                           WHERE m.membership = 1 AND a.is_guest";

on_both_databases! {
    async fn guests_leave_a_closed_room_though_the_server_was_killed_in_between(db: TestDatabase) {
        let settings = [
            ("jobs", "lease", "10s".into()),
            ("jobs", "poll_interval", "1s".into()),
            ("registration", "allow_guests", true.into()),
        ];
        let mut server = ServerProcess::start_with(env!("CARGO_BIN_EXE_synapse-rust"), &db, &settings).await;
        let alice = server.register("alice").await;
        let access = json!({ "type": "m.room.guest_access", "content": { "guest_access": "can_join" } });
        let room = alice.create_room(&json!({ "preset": "public_chat", "initial_state": [access] })).await;
        let client = server.client();
        for _ in 0..GUESTS {
            let guest = client.post(format!("{V3}/register?kind=guest")).json(&json!({})).await.ok();
            let joining = client.post(format!("{V3}/join/{}", path_segment(&room))).json(&json!({}));
            joining.token(guest["access_token"].as_str().unwrap()).await.ok();
        }
        let database = open(&db).await;
        assert_eq!(crate::count(&database, IN_THE_ROOM).await, i64::try_from(GUESTS).unwrap());
        let path = format!("{V3}/rooms/{}/state/m.room.guest_access", path_segment(&room));
        alice.put(path).json(&json!({ "guest_access": "forbidden" })).await.ok();
        server.kill().await;
        let left = crate::count(&database, IN_THE_ROOM).await;

        server.restart().await;
        let gone = async {
            while crate::count(&database, IN_THE_ROOM).await > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LONG, gone).await.unwrap();
        println!("{left} of {GUESTS} guests were in the room when the server was killed");
        let members = alice.at(&server.client()).get(format!("{V3}/rooms/{}/joined_members", path_segment(&room))).await;
        assert_eq!(members.ok()["joined"].as_object().unwrap().len(), 1);
        database.close().await;
        assert_eq!(server.terminate().await.code(), Some(0), "{}", server.log());
    }
}
