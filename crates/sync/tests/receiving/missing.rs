//! Events that come before what they name, or that others referred to before they came.

use bytes::Bytes;
use room_engine::RoomVersion;
use room_engine::receipt::ReceivedPdu;
use rooms::{Reception, ToldStates};
use ruma::OwnedEventId;
use serde_json::json;
use storage::{LogEntry, Standing};
use testing::on_both_databases;

use super::room::{Event, Room, join, message, redaction, topic};
use super::server::Server;

const VERSIONS: [RoomVersion; 4] = [RoomVersion::V1, RoomVersion::V3, RoomVersion::V11, RoomVersion::V12];

async fn room_of_two(server: &Server, version: RoomVersion) -> (Room, Event) {
    let room = Room::with_levels(server, version, &json!({ "users": { "@bob:two": 50 } })).await;
    let bob = room.accept(&join("@bob:two"), &[&room.end().await]).await;
    (room, bob)
}

impl Room {
    fn read(&self, event: &Event) -> ReceivedPdu {
        ReceivedPdu::parse(self.version, Some(&self.id), &event.json()).unwrap()
    }

    async fn store_outliers(&self, events: &[&Event]) -> rooms::OutlierReport {
        let identity = self.server.timeline.identity_of(&self.id).await.unwrap();
        let events: Vec<Bytes> = events.iter().map(|event| event.json().into()).collect();
        self.server.timeline.store_outliers(&identity, &events, &*self.server.keys).await.unwrap()
    }

    async fn receive_with_state(&self, event: &Event, state: &[OwnedEventId]) -> Reception {
        let timeline = &self.server.timeline;
        let identity = timeline.identity_of(&self.id).await.unwrap();
        let told = ToldStates::before(state.to_vec());
        let reception = timeline.receive_with_state(&identity, self.read(event), &*self.server.keys, &told).await;
        self.assert_consistent().await;
        reception.unwrap()
    }

    async fn receive_all(&self, events: &[&Event]) -> Vec<Reception> {
        let timeline = &self.server.timeline;
        let identity = timeline.identity_of(&self.id).await.unwrap();
        let read = events.iter().map(|event| self.read(event)).collect();
        let receptions = timeline.receive_all(&identity, read, &*self.server.keys).await.unwrap();
        self.assert_consistent().await;
        receptions.into_iter().map(Result::unwrap).collect()
    }
}

fn before(event: &Event) -> Vec<OwnedEventId> {
    event.after.values().map(|pdu| pdu.event_id().to_owned()).collect()
}

on_both_databases! {
    async fn an_event_after_a_gap_has_the_state_that_was_told(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in VERSIONS {
            let (room, bob) = room_of_two(&server, version).await;
            let lost = room.build(&topic("@bob:two", "tea"), &[&bob]);
            let carol = room.build(&join("@carol:three"), &[&lost]);
            let said = room.build(&message("@carol:three", "hello"), &[&carol]);
            assert!(matches!(room.receive(&said).await, Reception::Missing(_)));
            let report = room.store_outliers(&[&carol, &lost]).await;
            assert_eq!((report.stored, report.rejected), (2, 0), "{report:?}");
            room.assert_consistent().await;
            assert_eq!(room.current("m.room.topic", "").await, None);
            let reception = room.receive_with_state(&said, &before(&carol)).await;
            assert!(matches!(reception, Reception::Stored(Standing::Accepted, None)), "{reception:?}");
            room.assert_auth_chains().await;
            assert_eq!(room.current("m.room.topic", "").await.as_deref(), Some(lost.id()));
            room.assert_ends(&[&bob, &said]).await;
            let both = room.accept(&message("@bob:two", "you are back"), &[&bob, &said]).await;
            room.assert_ends(&[&both]).await;
            room.assert_auth_chains().await;
        }
    }

    async fn a_state_that_is_not_one_of_the_room_is_not_believed(db: TestDatabase) {
        let server = Server::new(&db).await;
        let (room, bob) = room_of_two(&server, RoomVersion::V11).await;
        let lost = room.build(&message("@bob:two", "lost"), &[&bob]);
        let said = room.build(&message("@bob:two", "hello"), &[&lost]);
        let identity = server.timeline.identity_of(&room.id).await.unwrap();
        let mut without_create = before(&bob);
        without_create.retain(|id| id != bob.after[&("m.room.create".to_owned(), String::new())].event_id());
        for state in [without_create, vec![lost.id().to_owned()], Vec::new()] {
            let read = room.read(&said);
            let told = ToldStates::before(state);
            let outcome = server.timeline.receive_with_state(&identity, read, &*server.keys, &told).await;
            assert!(outcome.is_err(), "{outcome:?}");
        }
        assert!(matches!(room.receive_with_state(&said, &before(&bob)).await, Reception::Stored(Standing::Accepted, _)));
    }

    async fn an_outlier_gets_its_place_when_it_comes(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in VERSIONS {
            let (room, bob) = room_of_two(&server, version).await;
            let tea = room.build(&topic("@bob:two", "tea"), &[&bob]);
            room.store_outliers(&[&tea]).await;
            let sn = room.stored(&tea).await.stored.sn;
            server.log.news();
            assert_eq!(room.standing(&tea).await, Standing::Accepted);
            let stored = room.stored(&tea).await;
            assert_eq!((stored.standing, stored.stored.sn), (Standing::Accepted, sn));
            assert_eq!(room.current("m.room.topic", "").await.as_deref(), Some(tea.id()));
            let news = server.log.news();
            assert!(matches!(&*news, [LogEntry::StateResolved { .. }]), "{news:?}");
            assert!(matches!(room.receive(&tea).await, Reception::Known(Standing::Accepted)));
            room.assert_ends(&[&tea]).await;
            // On another branch too, and where it loses.
            let coffee = room.build(&topic("@bob:two", "coffee"), &[&bob]);
            room.store_outliers(&[&coffee]).await;
            assert_eq!(room.standing(&coffee).await, Standing::Accepted);
            room.assert_auth_chains().await;
            room.accept(&message("@bob:two", "both"), &[&tea, &coffee]).await;
            room.assert_auth_chains().await;
        }
    }

    async fn an_event_after_an_outlier_waits_for_it(db: TestDatabase) {
        let server = Server::new(&db).await;
        let (room, bob) = room_of_two(&server, RoomVersion::V11).await;
        let carol = room.build(&join("@carol:three"), &[&bob]);
        let said = room.build(&message("@carol:three", "hello"), &[&carol]);
        room.store_outliers(&[&carol]).await;
        let Reception::Missing(missing) = room.receive(&said).await else { panic!("it was taken in") };
        assert_eq!(missing.prev_events, [carol.id().to_owned()]);
        assert!(missing.auth_events.is_empty());
        let receptions = room.receive_all(&[&said, &carol]).await;
        assert!(receptions.iter().all(|it| matches!(it, Reception::Stored(Standing::Accepted, None))), "{receptions:?}");
    }

    async fn what_names_an_unknown_auth_event_is_no_evidence(db: TestDatabase) {
        let server = Server::new(&db).await;
        let (room, bob) = room_of_two(&server, RoomVersion::V11).await;
        let carol = room.build(&join("@carol:three"), &[&bob]);
        let topic = room.build(&topic("@carol:three", "tea"), &[&carol]);
        let report = room.store_outliers(&[&topic]).await;
        assert_eq!(report.stored, 0);
        assert!(report.missing.contains(carol.id()), "{report:?}");
        // Once it is there, the rules decide: she has no power.
        let report = room.store_outliers(&[&topic, &carol]).await;
        assert_eq!((report.stored, report.rejected), (2, 1), "{report:?}");
        assert_eq!(room.stored(&topic).await.standing, Standing::Rejected);
        assert!(matches!(room.receive(&carol).await, Reception::Stored(Standing::Accepted, _)));
        assert!(matches!(room.receive(&topic).await, Reception::Stored(Standing::Rejected, _)));
        assert!(matches!(room.receive(&topic).await, Reception::Known(Standing::Rejected)));
        room.assert_auth_chains().await;
    }

    async fn a_redaction_takes_effect_when_its_target_comes(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in [RoomVersion::V3, RoomVersion::V11] {
            let (room, bob) = room_of_two(&server, version).await;
            let said = room.build(&message("@bob:two", "oh no"), &[&bob]);
            let unsaid = room.accept(&redaction("@bob:two", said.id()), &[&bob]).await;
            server.log.news();
            assert_eq!(room.standing(&said).await, Standing::Accepted);
            assert_eq!(room.parse(&room.stored(&said).await).content().as_bytes(), b"{}", "{version:?}");
            let shown = server.database.event_by_id(said.id().as_str()).await.unwrap().unwrap();
            assert!(shown.redacted_because.is_some());
            let news = server.log.news();
            let [LogEntry::Event(event)] = &*news else { panic!("{news:?}") };
            assert!(event.redacted_because.is_some());
            // One by somebody who may not redact it has no effect.
            let carol = room.accept(&join("@carol:three"), &[&said, &unsaid]).await;
            let kept = room.build(&message("@bob:two", "oh yes"), &[&carol]);
            room.accept(&redaction("@carol:three", kept.id()), &[&carol]).await;
            assert_eq!(room.standing(&kept).await, Standing::Accepted);
            assert_ne!(room.parse(&room.stored(&kept).await).content().as_bytes(), b"{}");
            // A state event that is stored before it has a place is redacted too.
            let tea = room.build(&topic("@bob:two", "tea"), &[&kept]);
            room.accept(&redaction("@bob:two", tea.id()), &[&kept]).await;
            room.store_outliers(&[&tea]).await;
            assert_eq!(room.parse(&room.stored(&tea).await).content().as_bytes(), b"{}");
        }
    }

    async fn messages_that_follow_each_other_are_stored_together(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in VERSIONS {
            let (room, bob) = room_of_two(&server, version).await;
            let mut last = bob;
            let mut said = Vec::new();
            for number in 0..10 {
                last = room.build(&message("@bob:two", &number.to_string()), &[&last]);
                said.push(last.clone());
            }
            let topic = room.build(&topic("@bob:two", "tea"), &[&last]);
            let refused = room.build(&message("@eve:two", "hello"), &[&topic]);
            let end = room.build(&message("@bob:two", "end"), &[&topic]);
            let events: Vec<&Event> = said.iter().chain([&topic, &refused, &end]).collect();
            let mut shuffled = events.clone();
            shuffled.rotate_left(5);
            let receptions = room.receive_all(&shuffled).await;
            for (event, reception) in shuffled.iter().zip(&receptions) {
                let expected = if event.id() == refused.id() { Standing::Rejected } else { Standing::Accepted };
                assert!(matches!(reception, Reception::Stored(standing, _) if *standing == expected), "{reception:?}");
            }
            room.assert_auth_chains().await;
            room.assert_ends(&[&end]).await;
            let timeline = room.timeline().await;
            let ids: Vec<String> =
                events.iter().filter(|it| it.id() != refused.id()).map(|it| it.id().to_string()).collect();
            assert_eq!(timeline[timeline.len() - ids.len()..], ids);
            let again = room.receive_all(&events).await;
            assert!(again.iter().all(|it| matches!(it, Reception::Known(_))), "{again:?}");
        }
    }
}
