//! Events that are not what they should be: dropped, or missing what they name.

use room_engine::receipt::Dropped;
use room_engine::{RoomVersion, receipt::SignatureFault};
use rooms::Reception;
use ruma::EventId;
use serde_json::{Value, json};
use storage::Standing;
use testing::on_both_databases;

use super::room::{Event, Plan, Room, join, message, topic};
use super::server::Server;

/// A room with `@bob:two`, who has power, and his join.
async fn room_of_two(server: &Server, version: RoomVersion) -> (Room, Event) {
    let room = Room::with_levels(server, version, &json!({ "users": { "@bob:two": 50 } })).await;
    let bob = room.accept(&join("@bob:two"), &[&room.end().await]).await;
    (room, bob)
}

/// The event with something changed after it was signed.
fn forged(event: &Event, change: impl Fn(&mut Value)) -> Vec<u8> {
    let mut json: Value = serde_json::from_slice(&event.json()).unwrap();
    change(&mut json);
    json.to_string().into_bytes()
}

fn dropped(reception: Reception) -> Dropped {
    match reception {
        Reception::Dropped(reason) => reason,
        other => panic!("{other:?}"),
    }
}

on_both_databases! {
    async fn a_wrong_signature_drops_the_event(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, bob) = room_of_two(&server, version).await;
            let event = room.build(&message("@bob:two", "hello"), &[&bob]);
            let count = room.graph().await.len();
            let other = room.build(&message("@bob:two", "other"), &[&bob]);
            let other: Value = serde_json::from_slice(&other.json()).unwrap();
            let reason = dropped(room.receive_json(&forged(&event, |json| json["signatures"] = other["signatures"].clone())).await);
            assert!(matches!(reason, Dropped::Signature(SignatureFault::Wrong { .. })), "{reason:?}");
            assert!(!reason.is_for_want_of_keys());
            let reason = dropped(room.receive_json(&forged(&event, |json| json["signatures"] = json!({}))).await);
            assert!(matches!(reason, Dropped::Signature(SignatureFault::Missing { .. })), "{reason:?}");
            // What redaction leaves is signed.
            let reason = dropped(room.receive_json(&forged(&event, |json| json["depth"] = json!(1))).await);
            assert!(matches!(reason, Dropped::Signature(SignatureFault::Wrong { .. })), "{reason:?}");
            assert_eq!(room.graph().await.len(), count);
            // It was only the signature.
            assert_eq!(room.standing(&event).await, Standing::Accepted);
        }
    }

    async fn an_unknown_key_drops_the_event_until_it_is_known(db: TestDatabase) {
        let server = Server::new(&db).await;
        let (room, bob) = room_of_two(&server, RoomVersion::V10).await;
        let event = room.build(&join("@eve:four"), &[&bob]);
        let reason = dropped(room.receive(&event).await);
        assert!(reason.is_for_want_of_keys(), "{reason:?}");
    }

    async fn of_an_event_with_a_wrong_content_hash_the_redacted_form_is_kept(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, bob) = room_of_two(&server, version).await;
            let event = room.build(&topic("@bob:two", "tea"), &[&bob]);
            let json = forged(&event, |json| json["content"]["topic"] = json!("coffee"));
            let reception = room.receive_json(&json).await;
            assert!(matches!(reception, Reception::Stored(Standing::Accepted, None)), "{reception:?}");
            let stored = room.parse(&room.stored(&event).await);
            assert_eq!(stored.content().as_bytes(), b"{}", "{version:?}");
            assert_eq!(room.current("m.room.topic", "").await.as_deref(), Some(event.id()));
            // The real one comes too late.
            assert!(matches!(room.receive(&event).await, Reception::Known(Standing::Accepted)));
        }
    }

    async fn what_an_event_names_has_to_be_there(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, bob) = room_of_two(&server, version).await;
            let first = room.build(&message("@bob:two", "first"), &[&bob]);
            let second = room.build(&message("@bob:two", "second"), &[&bob, &first]);
            let Reception::Missing(missing) = room.receive(&second).await else { panic!("it was taken in") };
            assert_eq!(missing.prev_events, [first.id().to_owned()]);
            assert!(missing.auth_events.is_empty(), "{missing:?}");
            let carol = room.build(&join("@carol:three"), &[&bob]);
            let spoken = room.build(&message("@carol:three", "hello"), &[&carol]);
            let Reception::Missing(missing) = room.receive(&spoken).await else { panic!("it was taken in") };
            assert_eq!(missing.prev_events, [carol.id().to_owned()]);
            assert_eq!(missing.auth_events, [carol.id().to_owned()]);
            let beside = Plan { auth_events: Some(spoken.after.values().cloned().collect()), ..message("@bob:two", "?") };
            let beside = room.build(&beside, &[&bob]);
            let Reception::Missing(missing) = room.receive(&beside).await else { panic!("it was taken in") };
            assert!(missing.prev_events.is_empty(), "{missing:?}");
            assert_eq!(missing.auth_events, [carol.id().to_owned()]);
            for event in [&first, &second, &carol, &spoken] {
                assert_eq!(room.standing(event).await, Standing::Accepted);
            }
        }
    }

    async fn an_event_that_is_here_is_known_whatever_is_beside_what_is_signed(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, bob) = room_of_two(&server, version).await;
            assert!(matches!(room.receive(&bob).await, Reception::Known(Standing::Accepted)));
            let head = room.head().await.version;
            let again = forged(&bob, |json| json["unsigned"] = json!({ "age": 5 }));
            assert!(matches!(room.receive_json(&again).await, Reception::Known(Standing::Accepted)));
            assert_eq!(room.head().await.version, head);
            let stored = room.parse(&room.stored(&bob).await);
            assert!(stored.unsigned().is_none());
        }
    }

    async fn an_event_of_another_room_is_dropped(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, bob) = room_of_two(&server, version).await;
            let (other, there) = room_of_two(&server, version).await;
            let event = other.build(&message("@bob:two", "hello"), &[&there]);
            let reason = dropped(room.receive(&event).await);
            assert!(matches!(reason, Dropped::OtherRoom { .. }), "{reason:?}");
            // It may not build on events of another room either.
            let mixed = room.build(&message("@bob:two", "hello"), &[&bob, &there]);
            let Reception::Missing(missing) = room.receive(&mixed).await else { panic!("it was taken in") };
            assert_eq!(missing.prev_events, [there.id().to_owned()]);
        }
    }

    async fn an_event_id_that_is_taken_in_another_room_is_taken(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in [RoomVersion::V1, RoomVersion::V2] {
            let (room, bob) = room_of_two(&server, version).await;
            let (other, there) = room_of_two(&server, version).await;
            let taken = room.accept(&message("@bob:two", "here"), &[&bob]).await;
            let same = Plan { event_id: Some(taken.id().to_owned()), ..message("@bob:two", "there") };
            let same = other.build(&same, &[&there]);
            let reason = dropped(other.receive(&same).await);
            assert!(matches!(reason, Dropped::IdTaken { .. }), "{reason:?}");
        }
    }

    async fn an_event_that_names_itself_is_dropped(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in [RoomVersion::V1, RoomVersion::V2] {
            let (room, bob) = room_of_two(&server, version).await;
            let first = room.build(&message("@bob:two", "first"), &[&bob]);
            let same = Plan { event_id: Some(first.id().to_owned()), ..message("@bob:two", "same") };
            let reason = dropped(room.receive(&room.build(&same, &[&bob, &first])).await);
            assert!(matches!(reason, Dropped::NamesItself { .. }), "{reason:?}");
        }
    }

    async fn json_that_is_no_event_is_dropped(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, bob) = room_of_two(&server, version).await;
            let event = room.build(&message("@bob:two", "hello"), &[&bob]);
            let text = String::from_utf8(event.json()).unwrap();
            let ids = |count: usize| {
                let id = |n: usize| EventId::parse(format!("$id{n}:two")).unwrap().to_string();
                let pair = |n: usize| json!([id(n), { "sha256": "" }]);
                let has_pairs = version <= RoomVersion::V2;
                (0..count).map(|n| if has_pairs { pair(n) } else { json!(id(n)) }).collect::<Value>()
            };
            let mut broken: Vec<Vec<u8>> = vec![
                b"".to_vec(),
                b"null".to_vec(),
                b"{}".to_vec(),
                b"\xff".to_vec(),
                text.replacen("\"depth\":", "\"depth\":99999999999999999999", 1).into_bytes(),
                forged(&event, |json| json["depth"] = json!(9_223_372_036_854_775_808_u64)),
                forged(&event, |json| json["depth"] = json!(-1)),
                forged(&event, |json| json["depth"] = json!("1")),
                forged(&event, |json| json["origin_server_ts"] = json!(null)),
                forged(&event, |json| json["content"] = json!([])),
                forged(&event, |json| json["content"]["body"] = json!("x".repeat(70_000))),
                forged(&event, |json| json["type"] = json!("x".repeat(256))),
                forged(&event, |json| json["sender"] = json!("bob")),
                forged(&event, |json| json["hashes"] = json!({})),
                forged(&event, |json| json["prev_events"] = ids(21)),
                forged(&event, |json| json["auth_events"] = ids(11)),
                forged(&event, |json| json["prev_events"] = json!([1])),
            ];
            if version >= RoomVersion::V6 {
                broken.push(forged(&event, |json| json["content"]["body"] = json!(1.5)));
                broken.push(forged(&event, |json| json["content"]["body"] = json!(9_007_199_254_740_992_i64)));
                broken.push(forged(&event, |json| json["depth"] = json!(9_007_199_254_740_992_i64)));
            }
            let count = room.graph().await.len();
            for (number, json) in broken.iter().enumerate() {
                let reception = room.receive_json(json).await;
                assert!(
                    matches!(reception, Reception::Dropped(Dropped::Malformed(_))),
                    "{number} in {version:?}: {reception:?}"
                );
            }
            assert_eq!(room.graph().await.len(), count);
        }
    }

    async fn of_a_key_that_occurs_twice_the_last_one_counts(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, bob) = room_of_two(&server, version).await;
            let event = room.build(&message("@bob:two", "hello"), &[&bob]);
            let text = String::from_utf8(event.json()).unwrap();
            let after = text.replacen(",\"origin_server_ts\"", ",\"depth\":1,\"origin_server_ts\"", 1);
            let reason = dropped(room.receive_json(after.as_bytes()).await);
            assert!(matches!(reason, Dropped::Signature(SignatureFault::Wrong { .. })), "{reason:?}");
            let before = text.replacen("\"depth\":", "\"depth\":1,\"depth\":", 1);
            let reception = room.receive_json(before.as_bytes()).await;
            assert!(matches!(reception, Reception::Stored(Standing::Accepted, None)), "{reception:?}");
            assert_eq!(room.parse(&room.stored(&event).await).depth(), event.pdu.depth());
        }
    }

    async fn a_room_goes_on_from_the_greatest_depth(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, bob) = room_of_two(&server, version).await;
            let deep = Plan { depth: Some(i64::MAX), ..message("@bob:two", "deep") };
            let deep = room.accept(&deep, &[&bob]).await;
            assert_eq!(deep.pdu.depth(), version.max_depth());
            let local = room.send(&message("@alice:one", "deeper?")).await;
            assert_eq!(local.pdu.depth(), version.max_depth());
            let remote = Plan { depth: Some(i64::MAX), ..topic("@bob:two", "deep") };
            room.accept(&remote, &[&local]).await;
        }
    }
}
