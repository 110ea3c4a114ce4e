//! Events one after the other.

use room_engine::RoomVersion;
use serde_json::json;
use storage::{LogEntry, Membership, Standing};
use testing::on_both_databases;

use super::room::{Room, join, member, message, state, topic};
use super::server::Server;

on_both_databases! {
    async fn a_remote_user_joins_speaks_and_sets_the_topic(db: TestDatabase) {
        let server = Server::new(&db).await;
        let room = Room::with_levels(&server, RoomVersion::V11, &json!({ "users": { "@bob:two": 50 } })).await;
        room.assert_consistent().await;
        let joined = room.accept(&join("@bob:two"), &[&room.end().await]).await;
        assert_eq!(room.membership("@bob:two").await, Some(Membership::Join));
        assert_eq!(room.head().await.known_members().joined, 2);
        let spoken = room.accept(&message("@bob:two", "hello"), &[&joined]).await;
        let set = room.accept(&topic("@bob:two", "tea"), &[&spoken]).await;
        assert_eq!(room.current("m.room.topic", "").await.as_deref(), Some(set.id()));
        assert_eq!(room.timeline().await[5..], [&joined, &spoken, &set].map(|event| event.id().to_string()));
        assert_eq!(room.stored(&set).await.state, room.head().await.state);
        room.assert_ends(&[&set]).await;

        let answer = room.send(&message("@alice:one", "hello yourself")).await;
        assert_eq!(answer.pdu.prev_events(), [set.id().to_owned()]);
        assert_eq!(answer.pdu.depth(), set.pdu.depth() + 1);
        room.assert_consistent().await;
        room.assert_auth_chains().await;
    }

    async fn followers_of_the_log_see_accepted_events_as_if_they_were_local(db: TestDatabase) {
        let server = Server::new(&db).await;
        let room = Room::create(&server, RoomVersion::V11).await;
        server.log.news();
        let joined = room.accept(&join("@bob:two"), &[&room.end().await]).await;
        let news = server.log.news();
        let [LogEntry::Event(event)] = news.as_slice() else { panic!("{news:?}") };
        assert_eq!(&*event.event_id, joined.id().as_str());
        let bob = server.interned.user("@bob:two").await.unwrap();
        assert_eq!(news[0].membership_change(), Some((room.sn, bob, Membership::Join)));
        room.accept(&message("@bob:two", "hello"), &[&joined]).await;
        let news = server.log.news();
        let [LogEntry::Event(event)] = news.as_slice() else { panic!("{news:?}") };
        assert_eq!(event.countable_total, 1);
    }

    async fn members_come_and_go(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let room = Room::create(&server, version).await;
            let bob = room.accept(&join("@bob:two"), &[&room.end().await]).await;
            let carol = room.accept(&join("@carol:three"), &[&bob]).await;
            room.accept(&member("@carol:three", "@carol:three", "leave"), &[&carol]).await;
            assert_eq!(room.head().await.known_members().joined, 2);
            let banned = room.send(&member("@alice:one", "@bob:two", "ban")).await;
            let refused = room.build(&message("@bob:two", "hello?"), &[&banned]);
            assert_eq!(room.standing(&refused).await, Standing::Rejected);
            let back = room.accept(&join("@carol:three"), &[&banned]).await;
            let invited = room.accept(&member("@carol:three", "@dave:two", "invite"), &[&back]).await;
            let head = room.head().await;
            assert_eq!((head.known_members().joined, head.known_members().invited), (2, 1));
            room.accept(&join("@dave:two"), &[&invited]).await;
            room.assert_auth_chains().await;
        }
    }

    async fn state_of_types_and_keys_that_were_never_seen_is_stored(db: TestDatabase) {
        let server = Server::new(&db).await;
        let room = Room::with_levels(&server, RoomVersion::V12, &json!({ "state_default": 0 })).await;
        let joined = room.accept(&join("@bob:two"), &[&room.end().await]).await;
        let new = room.accept(&state("@bob:two", "org.example.\u{1f980}", "\u{0} key", json!({ "a": 1 })), &[&joined]).await;
        assert_eq!(room.current("org.example.\u{1f980}", "\u{0} key").await.as_deref(), Some(new.id()));
    }
}
