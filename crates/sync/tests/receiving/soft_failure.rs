//! Events that the state before them allows, and the current state does not.

use room_engine::RoomVersion;
use serde_json::json;
use storage::Standing;
use testing::on_both_databases;

use super::room::{Event, Room, join, member, message, state, topic};
use super::server::Server;

/// A room with `@bob:two` and `@carol:three`, who have the power 50.
async fn room_of_three(server: &Server, version: RoomVersion) -> (Room, Event) {
    let levels = json!({ "users": { "@bob:two": 50, "@carol:three": 50 } });
    let room = Room::with_levels(server, version, &levels).await;
    let bob = room.accept(&join("@bob:two"), &[&room.end().await]).await;
    let carol = room.accept(&join("@carol:three"), &[&bob]).await;
    (room, carol)
}

/// Power levels in which `@bob:two` has `power`.
fn levels(room: &Room, power: i64) -> super::room::Plan {
    let mut users = json!({ "@bob:two": power, "@carol:three": 50 });
    if room.version < RoomVersion::V12 {
        users["@alice:one"] = json!(100);
    }
    state("@alice:one", "m.room.power_levels", "", json!({ "users": users }))
}

on_both_databases! {
    async fn a_soft_failed_event_is_kept_hidden_and_no_end(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, start) = room_of_three(&server, version).await;
            let ban = room.send(&member("@alice:one", "@bob:two", "ban")).await;
            server.log.news();
            let late = room.build(&message("@bob:two", "but"), &[&start]);
            assert_eq!(room.standing(&late).await, Standing::SoftFailed);
            assert!(server.log.news().is_empty());
            room.assert_ends(&[&ban]).await;
            assert!(!room.timeline().await.contains(&late.id().to_string()));
            assert!(server.database.event_by_id(late.id().as_str()).await.unwrap().is_none());
            assert_eq!(room.head().await.countable_total, 0);
            let next = room.send(&message("@alice:one", "quiet")).await;
            assert_eq!(next.pdu.prev_events(), [ban.id().to_owned()]);
        }
    }

    async fn what_is_built_on_a_soft_failed_event_follows_what_that_followed(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, start) = room_of_three(&server, version).await;
            let ban = room.send(&member("@alice:one", "@bob:two", "ban")).await;
            let mut late = start.clone();
            for text in ["but", "why", "me"] {
                late = room.build(&message("@bob:two", text), &[&late]);
                assert_eq!(room.standing(&late).await, Standing::SoftFailed);
            }
            let beside = room.accept(&message("@carol:three", "what?"), &[&late]).await;
            room.assert_ends(&[&ban, &beside]).await;
            let all = room.accept(&message("@carol:three", "I see"), &[&late, &ban, &beside]).await;
            room.assert_ends(&[&all]).await;
        }
    }

    async fn an_end_is_followed_through_soft_failed_and_rejected_events(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, start) = room_of_three(&server, version).await;
            room.accept(&member("@alice:one", "@bob:two", "ban"), &[&start]).await;
            let end = room.accept(&message("@carol:three", "in the branch of bob"), &[&start]).await;
            let late = room.build(&message("@bob:two", "but"), &[&end]);
            assert_eq!(room.standing(&late).await, Standing::SoftFailed);
            let refused = room.build(&member("@bob:two", "@alice:one", "ban"), &[&late]);
            assert_eq!(room.standing(&refused).await, Standing::Rejected);
            let refused = Event { after: late.after.clone(), ..refused };
            assert_eq!(room.ends().await.len(), 2);
            let next = room.accept(&message("@carol:three", "on all of it"), &[&refused]).await;
            let ends = room.ends().await;
            assert!(ends.len() == 2 && ends.contains(&next.id().to_owned()) && !ends.contains(&end.id().to_owned()));
        }
    }

    async fn a_soft_failed_state_event_counts_where_others_build_on_it(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL.into_iter().filter(|version| *version > RoomVersion::V1) {
            let (room, start) = room_of_three(&server, version).await;
            let demoted = room.accept(&levels(&room, 0), &[&start]).await;
            let late = room.build(&topic("@bob:two", "late"), &[&start]);
            assert_eq!(room.standing(&late).await, Standing::SoftFailed);
            let back = room.accept(&levels(&room, 50), &[&demoted]).await;
            assert_eq!(room.current("m.room.topic", "").await, None);
            let above = room.accept(&message("@carol:three", "it is"), &[&late]).await;
            room.assert_ends(&[&back, &above]).await;
            room.assert_resolved_as_by_ruma().await;
            assert_eq!(room.current("m.room.topic", "").await.as_deref(), Some(late.id()), "{version:?}");
            room.assert_auth_chains().await;
        }
    }
}
