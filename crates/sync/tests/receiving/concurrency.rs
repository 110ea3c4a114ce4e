//! Local sends and joins while events of other servers come in.

use std::collections::HashSet;
use std::sync::Arc;

use homeserver_core::UserSn;
use room_engine::RoomVersion;
use rooms::{Draft, OpenRoom, Reception, RoomChange, RoomError, StagedChange};
use ruma::OwnedUserId;
use serde_json::json;
use storage::{Membership, Standing};
use testing::on_both_databases;

use super::room::{Event, Room, canonical, join, message};
use super::server::Server;

/// Sends one event, and answers with its ID.
struct Send {
    user: (UserSn, OwnedUserId),
    draft: Draft,
}

impl RoomChange for Send {
    type Answer = String;

    async fn stage(&self, room: &mut OpenRoom) -> Result<StagedChange<String>, RoomError> {
        let pdu = room.stage(self.user.0, &self.user.1, &self.draft).await?;
        Ok((pdu.event_id().to_string(), None))
    }
}

/// Joins the room as a user of the server under test, and speaks.
async fn talk(room: Arc<Room>, user: String, count: usize) -> Vec<String> {
    let user = room.server.register(&user).await;
    let membership = canonical(&json!({ "membership": "join" }));
    let mut drafts = vec![Draft::state("m.room.member", user.1.as_str(), membership)];
    drafts.extend((0..count).map(|n| Draft::message("m.room.message", canonical(&json!({ "body": n.to_string() })))));
    let mut sent = Vec::new();
    for draft in drafts {
        let send = Send { user: user.clone(), draft };
        sent.push(room.server.timeline.change(room.sn, &send).await.unwrap());
    }
    sent
}

/// The same for a user of another server, who hears nobody else.
async fn talk_from_afar(room: Arc<Room>, user: String, start: Event, count: usize) -> Vec<String> {
    let mut end = room.build(&join(&user), &[&start]);
    let mut sent = Vec::new();
    for n in 0..=count {
        let reception = room.server.timeline.receive(&room.id, &end.json(), &*room.server.keys).await.unwrap();
        assert!(matches!(reception, Reception::Stored(Standing::Accepted, None)), "{reception:?}");
        sent.push(end.id().to_string());
        end = room.build(&message(&user, &n.to_string()), &[&end]);
    }
    sent
}

on_both_databases! {
    async fn nothing_is_lost_when_all_speak_at_once(db: TestDatabase) {
        let server = Server::new(&db).await;
        let room = Arc::new(Room::create(&server, RoomVersion::V11).await);
        let start = room.end().await;
        let mut tasks = Vec::new();
        for n in 0..4 {
            tasks.push(tokio::spawn(talk(room.clone(), format!("@local{n}:one"), 12)));
            let server = if n % 2 == 0 { "two" } else { "three" };
            tasks.push(tokio::spawn(talk_from_afar(room.clone(), format!("@remote{n}:{server}"), start.clone(), 12)));
        }
        let mut sent = HashSet::new();
        for task in tasks {
            sent.extend(task.await.unwrap());
        }
        assert_eq!(sent.len(), 8 * 13);
        let shown: HashSet<String> = room.timeline().await.into_iter().collect();
        assert!(sent.is_subset(&shown), "{:?} are missing", sent.difference(&shown));
        assert_eq!(room.head().await.known_members().joined, 9);
        for n in 0..4 {
            assert_eq!(room.membership(&format!("@local{n}:one")).await, Some(Membership::Join));
        }
        room.assert_consistent().await;
        room.assert_auth_chains().await;
        room.assert_resolved_as_by_ruma().await;
    }

    async fn the_same_event_from_several_sides_is_taken_in_once(db: TestDatabase) {
        let server = Server::new(&db).await;
        let room = Arc::new(Room::create(&server, RoomVersion::V11).await);
        let event = room.build(&join("@bob:two"), &[&room.end().await]);
        let mut tasks = Vec::new();
        for _ in 0..6 {
            let (room, json) = (room.clone(), event.json());
            tasks.push(tokio::spawn(async move {
                room.server.timeline.receive(&room.id, &json, &*room.server.keys).await.unwrap()
            }));
        }
        let mut stored = 0;
        for task in tasks {
            match task.await.unwrap() {
                Reception::Stored(Standing::Accepted, None) => stored += 1,
                reception => assert!(matches!(reception, Reception::Known(Standing::Accepted)), "{reception:?}"),
            }
        }
        assert_eq!(stored, 1);
        room.assert_consistent().await;
    }

    async fn two_nodes_take_turns(db: TestDatabase) {
        let (one, two) = (Server::new(&db).await, Server::new(&db).await);
        let room = Room::create(&one, RoomVersion::V11).await;
        let mut end = room.accept(&join("@bob:two"), &[&room.end().await]).await;
        for n in 0..6 {
            let server = if n % 2 == 0 { &two } else { &one };
            let event = room.build(&message("@bob:two", &n.to_string()), &[&end]);
            let reception = server.timeline.receive(&room.id, &event.json(), &*server.keys).await.unwrap();
            assert!(matches!(reception, Reception::Stored(Standing::Accepted, None)), "{reception:?}");
            room.assert_consistent().await;
            end = room.send(&message("@alice:one", &n.to_string())).await;
        }
        room.assert_consistent().await;
    }
}
