//! Events that the rules of the room do not allow: kept, and never part of it.

use room_engine::RoomVersion;
use rooms::Reception;
use serde_json::json;
use storage::Standing;
use testing::on_both_databases;

use super::room::{Event, Plan, Room, join, member, message, state, topic};
use super::server::Server;

/// A room with `@bob:two`, who has power, and `@carol:three`, who has none.
async fn room_of_three(server: &Server, version: RoomVersion) -> (Room, Event) {
    let room = Room::with_levels(server, version, &json!({ "users": { "@bob:two": 50 } })).await;
    let bob = room.accept(&join("@bob:two"), &[&room.end().await]).await;
    let carol = room.accept(&join("@carol:three"), &[&bob]).await;
    (room, carol)
}

impl Room {
    /// Has an event taken in that is kept without effect.
    async fn reject(&self, plan: &Plan, prev_events: &[&Event]) -> Event {
        let event = self.build(plan, prev_events);
        let (before, ends) = (self.current_state().await, self.ends().await);
        self.server.log.news();
        let reception = self.receive(&event).await;
        assert!(matches!(reception, Reception::Stored(Standing::Rejected, Some(_))), "{reception:?} of {event:?}");
        assert_eq!(self.current_state().await.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
        assert_eq!(self.ends().await, ends);
        assert!(self.server.log.news().is_empty());
        assert!(!self.timeline().await.contains(&event.id().to_string()));
        assert!(matches!(self.receive(&event).await, Reception::Known(Standing::Rejected)));
        // What its sender believes is of no interest to others.
        let after = prev_events.first().map(|event| event.after.clone()).unwrap_or_default();
        Event { after, ..event }
    }
}

on_both_databases! {
    async fn what_the_rules_refuse_is_kept_and_has_no_effect(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, start) = room_of_three(&server, version).await;
            let before = room.head().await.state;
            let set = room.reject(&topic("@carol:three", "mine"), &[&start]).await;
            assert_eq!(room.stored(&set).await.state, before, "the state after it is that before it");
            room.reject(&member("@carol:three", "@bob:two", "ban"), &[&start]).await;
            room.reject(&message("@dave:two", "let me in"), &[&start]).await;
            room.reject(&state("@carol:three", "m.room.power_levels", "", json!({})), &[&start]).await;
            // Others may not know, and build on it.
            let next = room.accept(&message("@carol:three", "well"), &[&set]).await;
            room.assert_ends(&[&next]).await;
            assert_eq!(room.head().await.state, before);
            room.assert_auth_chains().await;
        }
    }

    async fn the_state_before_counts_also_where_the_auth_events_permit_it(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, start) = room_of_three(&server, version).await;
            let banned = room.accept(&member("@alice:one", "@bob:two", "ban"), &[&start]).await;
            // He names what permitted him before the ban.
            let auth_events = room.build(&message("@bob:two", ""), &[&start]).pdu.auth_events().to_vec();
            let known = start.after.values().filter(|pdu| auth_events.iter().any(|id| id == pdu.event_id()));
            let plan = Plan { auth_events: Some(known.cloned().collect()), ..message("@bob:two", "but") };
            room.reject(&plan, &[&banned]).await;
        }
    }

    async fn what_names_a_rejected_event_as_its_permission_is_rejected(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, start) = room_of_three(&server, version).await;
            let banned = room.send(&member("@alice:one", "@eve:two", "ban")).await;
            let back = room.build(&join("@eve:two"), &[&banned]);
            let kept = room.reject(&join("@eve:two"), &[&banned]).await;
            let permitted_by = |pdu: &room_engine::Pdu| {
                let mut after = banned.after.clone();
                after.insert(("m.room.member".to_owned(), "@eve:two".to_owned()), pdu.clone());
                Event { pdu: pdu.clone(), after }
            };
            let spoken = room.reject(&message("@eve:two", "hello"), &[&permitted_by(&kept.pdu)]).await;
            let again = room.reject(&join("@eve:two"), &[&permitted_by(&kept.pdu)]).await;
            let on_both = room.accept(&message("@bob:two", "go on"), &[&Event { after: start.after.clone(), ..again }, &spoken]).await;
            room.assert_ends(&[&on_both]).await;
            room.assert_auth_chains().await;
            assert!(matches!(room.receive(&permitted_by(&back.pdu)).await, Reception::Stored(Standing::Rejected, _)));
        }
    }

    async fn auth_events_that_no_rule_asks_for_are_refused(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, start) = room_of_three(&server, version).await;
            let spoken = room.accept(&message("@bob:two", "hello"), &[&start]).await;
            let set = room.accept(&topic("@bob:two", "tea"), &[&spoken]).await;
            let usual: Vec<_> = {
                let names = room.build(&topic("@bob:two", ""), &[&set]).pdu.auth_events().to_vec();
                set.after.values().filter(|pdu| names.iter().any(|id| id == pdu.event_id())).cloned().collect()
            };
            let with = |pdu: &room_engine::Pdu| {
                let auth_events = Some(usual.iter().chain([pdu]).cloned().collect());
                Plan { auth_events, ..topic("@bob:two", "more") }
            };
            // One that is no state event, one of a place that does not matter, and one twice.
            let odd = room.reject(&with(&spoken.pdu), &[&set]).await;
            room.reject(&with(&set.pdu), &[&set]).await;
            room.reject(&with(usual.last().unwrap()), &[&set]).await;
            room.reject(&Plan { auth_events: Some(Vec::new()), ..topic("@bob:two", "none") }, &[&set]).await;
            // They can be named in turn.
            room.reject(&with(&odd.pdu), &[&set]).await;
            let next = room.accept(&topic("@bob:two", "coffee"), &[&set]).await;
            room.assert_ends(&[&next]).await;
            room.assert_auth_chains().await;
        }
    }

    async fn an_event_that_follows_nothing_is_refused_and_leads_nowhere(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, start) = room_of_three(&server, version).await;
            let auth_events = |sender: &str| {
                let names = room.build(&topic(sender, ""), &[&start]).pdu.auth_events().to_vec();
                let named = start.after.values().filter(|pdu| names.iter().any(|id| id == pdu.event_id()));
                Some(named.cloned().collect())
            };
            let plan = |sender: &str| Plan { auth_events: auth_events(sender), ..topic(sender, "from nowhere") };
            let rootless = room.reject(&plan("@bob:two"), &[]).await;
            let rootless_too = room.reject(&plan("@carol:three"), &[]).await;
            room.reject(&plan("@bob:two"), &[&rootless]).await;
            room.reject(&plan("@bob:two"), &[&rootless, &rootless_too]).await;
            // With an event of the room beside it, the state is that after that one.
            for prev_events in [[&rootless, &start], [&start, &rootless_too]] {
                let before = room.head().await.state;
                let plan = Plan { auth_events: auth_events("@bob:two"), ..message("@bob:two", "hello") };
                let event = room.accept(&plan, &prev_events).await;
                assert_eq!(room.stored(&event).await.state, before);
            }
        }
    }

    async fn a_room_is_created_once(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL.into_iter().filter(|version| *version < RoomVersion::V12) {
            let (room, start) = room_of_three(&server, version).await;
            let create = start.after[&("m.room.create".to_owned(), String::new())].clone();
            let content = json!({ "creator": "@mallory:one", "room_version": version.as_str() });
            let again = state("@mallory:one", "m.room.create", "", content);
            room.reject(&Plan { auth_events: Some(Vec::new()), ..again.clone() }, &[]).await;
            room.reject(&Plan { auth_events: Some(Vec::new()), ..again }, &[&start]).await;
            assert_eq!(room.current("m.room.create", "").await.as_deref(), Some(create.event_id()));
        }
    }
}
