//! Branches of a room, and where they meet.

use std::sync::Arc;

use event_log::{LogFollower, LogTail, UserRoomsCache, Wakeups};
use room_engine::RoomVersion;
use serde_json::{Value, json};
use storage::{LogEntry, Membership, Standing};
use testing::on_both_databases;

use super::room::{Event, Plan, Room, join, join_rule, member, message, state, topic};
use super::server::{NOW, Server};

/// The versions that differ in what is looked at here.
const VERSIONS: [RoomVersion; 6] =
    [RoomVersion::V1, RoomVersion::V2, RoomVersion::V6, RoomVersion::V10, RoomVersion::V11, RoomVersion::V12];

/// A room of a version with `@bob:two` and `@carol:three`, who have the power 50.
async fn room_of_three(server: &Server, version: RoomVersion) -> (Room, Event) {
    let levels = json!({ "users": { "@bob:two": 50, "@carol:three": 50 } });
    let room = Room::with_levels(server, version, &levels).await;
    let bob = room.accept(&join("@bob:two"), &[&room.end().await]).await;
    let carol = room.accept(&join("@carol:three"), &[&bob]).await;
    (room, carol)
}

/// The power levels of the room, with those of `@bob:two` changed.
fn levels(room: &Room, sender: &str, bob: i64) -> Plan {
    let mut users = json!({ "@bob:two": bob, "@carol:three": 50 });
    if room.version < RoomVersion::V12 {
        users["@alice:one"] = json!(100);
    }
    state(sender, "m.room.power_levels", "", json!({ "users": users }))
}

/// What the log says about places of the state that events did not simply change.
fn resolved(news: &[LogEntry]) -> Vec<Option<Membership>> {
    let membership = |entry: &LogEntry| match entry {
        LogEntry::StateResolved { membership, .. } => Some(membership.map(|it| it.1)),
        _ => None,
    };
    news.iter().filter_map(membership).collect()
}

fn assert_in_order(news: &[LogEntry]) {
    assert!(news.is_sorted_by_key(LogEntry::position), "{news:?}");
}

on_both_databases! {
    async fn two_events_on_the_same_one_are_both_ends_until_an_event_follows_both(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in VERSIONS {
            let (room, start) = room_of_three(&server, version).await;
            let left = room.accept(&message("@bob:two", "left"), &[&start]).await;
            let right = room.accept(&message("@carol:three", "right"), &[&start]).await;
            room.assert_ends(&[&left, &right]).await;
            let both = room.send(&message("@alice:one", "both")).await;
            let mut named = both.pdu.prev_events().to_vec();
            named.sort_unstable();
            let mut expected = vec![left.id().to_owned(), right.id().to_owned()];
            expected.sort_unstable();
            assert_eq!(named, expected);
            room.assert_ends(&[&both]).await;
            room.assert_consistent().await;
        }
    }

    async fn a_remote_event_that_follows_both_ends_leaves_one(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in VERSIONS {
            let (room, start) = room_of_three(&server, version).await;
            let left = room.accept(&topic("@bob:two", "left"), &[&start]).await;
            let right = room.accept(&topic("@carol:three", "right"), &[&start]).await;
            let winner = room.current("m.room.topic", "").await;
            server.log.news();
            let both = room.accept(&message("@bob:two", "both"), &[&left, &right]).await;
            room.assert_ends(&[&both]).await;
            assert_eq!(room.current("m.room.topic", "").await, winner);
            assert!(resolved(&server.log.news()).is_empty(), "the state had been worked out before");
        }
    }

    async fn of_conflicting_topics_the_younger_wins_in_whichever_order_they_come(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in VERSIONS {
            for swapped in [false, true] {
                let (room, start) = room_of_three(&server, version).await;
                let at = |time: i64, plan: Plan| Plan { origin_server_ts: Some(NOW + time), ..plan };
                let older = room.build(&at(10, topic("@bob:two", "older")), &[&start]);
                let younger = room.build(&at(20, topic("@carol:three", "younger")), &[&start]);
                let mut events = [&older, &younger];
                if swapped {
                    events.reverse();
                }
                for event in events {
                    assert_eq!(room.standing(event).await, Standing::Accepted);
                }
                room.assert_resolved_as_by_ruma().await;
                if version > RoomVersion::V1 {
                    assert_eq!(room.current("m.room.topic", "").await.as_deref(), Some(younger.id()), "{version:?}");
                }
            }
        }
    }

    async fn a_ban_beats_what_the_banned_user_does_at_the_same_time(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in VERSIONS {
            let (room, start) = room_of_three(&server, version).await;
            let ban = room.send(&member("@alice:one", "@bob:two", "ban")).await;
            let late = room.build(&message("@bob:two", "but"), &[&start]);
            assert_eq!(room.standing(&late).await, Standing::SoftFailed);
            let late = room.build(&topic("@bob:two", "but"), &[&start]);
            assert_eq!(room.standing(&late).await, Standing::SoftFailed);
            room.assert_ends(&[&ban]).await;
            assert_eq!(room.membership("@bob:two").await, Some(Membership::Ban));
            assert_eq!(room.current("m.room.topic", "").await, None);
        }
    }

    async fn a_ban_that_comes_late_takes_away_the_topic_of_the_banned_user(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in VERSIONS {
            let (room, start) = room_of_three(&server, version).await;
            let set = room.accept(&topic("@bob:two", "mine"), &[&start]).await;
            let spoken = room.accept(&message("@bob:two", "hello"), &[&set]).await;
            server.log.news();
            let kick = room.accept(&member("@alice:one", "@bob:two", "ban"), &[&start]).await;
            let news = server.log.news();
            assert_in_order(&news);
            assert_eq!(room.membership("@bob:two").await, Some(Membership::Ban));
            room.assert_ends(&[&spoken, &kick]).await;
            if version == RoomVersion::V1 {
                // Its algorithm does not check what is in no conflict.
                assert_eq!(room.current("m.room.topic", "").await.as_deref(), Some(set.id()));
            } else {
                assert_eq!(room.current("m.room.topic", "").await, None);
                assert_eq!(resolved(&news), [None]);
            }
            room.assert_resolved_as_by_ruma().await;
            let follower = room.send(&message("@alice:one", "quiet now")).await;
            assert_eq!(follower.pdu.prev_events().len(), 2);
            room.assert_consistent().await;
        }
    }

    async fn a_demotion_beats_the_topic_in_either_order(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in VERSIONS {
            let (room, start) = room_of_three(&server, version).await;
            let first = room.accept(&topic("@carol:three", "carol's"), &[&start]).await;
            room.accept(&topic("@bob:two", "bob's"), &[&first]).await;
            room.accept(&levels(&room, "@alice:one", 0), &[&first]).await;
            room.assert_resolved_as_by_ruma().await;
            assert_eq!(room.current("m.room.topic", "").await.as_deref(), Some(first.id()), "{version:?}");
            let both = room.send(&message("@alice:one", "both")).await;
            room.assert_ends(&[&both]).await;

            // The other way round.
            let back = room.accept(&levels(&room, "@alice:one", 50), &[&both]).await;
            let demoted_again = room.accept(&levels(&room, "@alice:one", 0), &[&back]).await;
            let late = room.build(&topic("@bob:two", "again"), &[&back]);
            assert_eq!(room.standing(&late).await, Standing::SoftFailed);
            assert_eq!(room.current("m.room.topic", "").await.as_deref(), Some(first.id()), "{version:?}");
            room.assert_ends(&[&demoted_again]).await;
        }
    }

    async fn a_place_of_the_state_can_lose_its_only_event(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in VERSIONS.into_iter().filter(|version| *version != RoomVersion::V1) {
            let (room, start) = room_of_three(&server, version).await;
            let set = room.accept(&topic("@bob:two", "bob's"), &[&start]).await;
            assert!(room.current("m.room.topic", "").await.is_some());
            server.log.news();
            let demoted = room.accept(&levels(&room, "@alice:one", 0), &[&start]).await;
            let news = server.log.news();
            assert_in_order(&news);
            assert_eq!(resolved(&news), [None]);
            assert_eq!(room.current("m.room.topic", "").await, None);
            room.assert_ends(&[&set, &demoted]).await;
            // A local event on both, and the place filled anew.
            let anew = room.send(&topic("@alice:one", "alice's")).await;
            assert_eq!(room.current("m.room.topic", "").await.as_deref(), Some(anew.id()));
            room.assert_consistent().await;
            room.assert_auth_chains().await;
        }
    }

    async fn a_membership_can_be_lost(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in VERSIONS.into_iter().filter(|version| *version != RoomVersion::V1) {
            let (room, start) = room_of_three(&server, version).await;
            // Dave comes in while, unknown to him, the room is closed.
            let dave = room.accept(&join("@dave:two"), &[&start]).await;
            let head = room.head().await;
            assert_eq!(head.known_members().joined, 4);
            server.log.news();
            // One follows the log, the other is new after the change.
            let (remembering, forgetful) =
                (Arc::new(UserRoomsCache::new(server.database.clone())), UserRoomsCache::new(server.database.clone()));
            let dave_sn = server.interned.user("@dave:two").await.unwrap();
            let wakeups = Arc::new(Wakeups::default());
            let tail = Arc::new(LogTail::new(server.database.settled_position().await.unwrap()));
            LogFollower::start(&server.database, tail.clone(), remembering.clone(), wakeups);
            assert!(remembering.of(dave_sn).await.unwrap().place(room.sn).unwrap().is_joined());
            let before = server.database.position().await.unwrap();
            let closed = room.accept(&join_rule("@alice:one", "invite"), &[&start]).await;
            let news = server.log.news();
            assert_in_order(&news);
            room.assert_resolved_as_by_ruma().await;
            assert_eq!(room.current("m.room.member", "@dave:two").await, None, "{version:?}");
            assert_eq!(room.membership("@dave:two").await, Some(Membership::Leave));
            assert_eq!(resolved(&news), [Some(Membership::Leave)]);
            for rooms in [&*remembering, &forgetful] {
                let place = rooms.of(dave_sn).await.unwrap().place(room.sn).unwrap();
                assert_eq!(place.membership, Some(Membership::Leave));
                assert!(place.since > before && place.since <= tail.end(), "{place:?} after {before:?}");
            }
            assert_eq!(room.head().await.known_members().joined, 3);
            room.assert_ends(&[&dave, &closed]).await;
            let refused = room.build(&message("@dave:two", "still here?"), &[&dave, &closed]);
            assert_eq!(room.standing(&refused).await, Standing::Rejected);
        }
    }

    async fn a_join_into_a_room_that_was_closed_meanwhile_is_soft_failed(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in VERSIONS {
            let (room, start) = room_of_three(&server, version).await;
            let closed = room.send(&join_rule("@alice:one", "invite")).await;
            let late = room.build(&join("@dave:two"), &[&start]);
            assert_eq!(room.standing(&late).await, Standing::SoftFailed);
            assert_eq!(room.membership("@dave:two").await, None);
            room.assert_ends(&[&closed]).await;
        }
    }

    async fn a_state_event_that_loses_is_shown_and_changes_nothing(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in VERSIONS.into_iter().filter(|version| *version != RoomVersion::V1) {
            let (room, start) = room_of_three(&server, version).await;
            let first = Plan { origin_server_ts: Some(NOW + 10), ..topic("@bob:two", "older") };
            let first = room.build(&first, &[&start]);
            let second = room.accept(&topic("@carol:three", "newer"), &[&start]).await;
            server.log.news();
            assert_eq!(room.standing(&first).await, Standing::Accepted);
            let news = server.log.news();
            assert_in_order(&news);
            assert_eq!(resolved(&news), [None]);
            assert_eq!(room.current("m.room.topic", "").await.as_deref(), Some(second.id()));
            assert!(room.timeline().await.contains(&first.id().to_string()));
            // In the branch of the loser, it is the topic.
            let on_first = room.accept(&message("@bob:two", "mine"), &[&first]).await;
            let in_branch = room.entries(room.stored(&on_first).await.state.unwrap()).await;
            let loser = room.stored(&first).await.stored.sn;
            assert!(in_branch.values().any(|sn| *sn == loser.0));
            assert_eq!(room.current("m.room.topic", "").await.as_deref(), Some(second.id()));
        }
    }

    async fn many_branches_of_many_places_meet_at_once(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in VERSIONS {
            let (room, start) = room_of_three(&server, version).await;
            let mut branches = Vec::new();
            for branch in 0..4 {
                let mut end = start.clone();
                for place in 0..4 {
                    let content: Value = json!({ "n": branch * 10 + place });
                    let sender = if branch % 2 == 0 { "@bob:two" } else { "@carol:three" };
                    end = room.accept(&state(sender, "org.example.n", &format!("{}", (place + branch) % 6), content), &[&end]).await;
                }
                branches.push(end);
            }
            let ends: Vec<&Event> = branches.iter().collect();
            room.assert_ends(&ends).await;
            room.assert_resolved_as_by_ruma().await;
            let joined = room.accept(&message("@bob:two", "all"), &ends).await;
            room.assert_ends(&[&joined]).await;
            room.assert_resolved_as_by_ruma().await;
            room.assert_auth_chains().await;
        }
    }
}
