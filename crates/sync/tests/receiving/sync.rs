//! What clients are told of rooms whose branches meet.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use accounts::filters::FilterDefinition;
use accounts::ignoring::IgnoredUsers;
use accounts::registration::{NewUser, Registration, RegistrationOptions};
use accounts::sessions::{CheckedDevice, Requester, SessionDevice, SessionOptions, Sessions};
use accounts::uia::Authorisation;
use event_log::{LogFollower, LogTail, UserRoomsCache, Wakeups};
use homeserver_core::{FixedClock, Position, Timestamp};
use room_engine::RoomVersion;
use rooms::reading::History;
use serde_json::{Value, json};
use sync::presence::{PresenceOptions, Presences};
use sync::providers::{Providers, Wants};
use sync::typing::Typing;
use sync::v3::{Sync, SyncBody, SyncRequest};
use tasks::limits::{Limit, LimitSize, Unobserved};
use tasks::loops::Loops;
use testing::on_both_databases;
use tokio_util::sync::CancellationToken;

use super::room::{Event, Room, join, join_rule, member, message, state, topic};
use super::server::{NOW, Server};

/// A client of a user of the server under test.
pub(crate) struct Client {
    sync: Arc<Sync>,
    pub(crate) history: Arc<History>,
    pub(crate) requester: Requester,
    tail: Arc<LogTail>,
}

impl Client {
    /// The client of a new account.
    pub(crate) async fn new(server: &Server, localpart: &str) -> Self {
        let database = server.database.clone();
        let clock = Arc::new(FixedClock::new(Timestamp(NOW)));
        let options = SessionOptions { access_token_lifetime: Duration::from_secs(600) };
        let sessions = Arc::new(Sessions::new(database.clone(), server.interned.clone(), clock.clone(), options));
        let options = RegistrationOptions { enabled: true, ..RegistrationOptions::default() };
        let name = ruma::owned_server_name!("one");
        let registration = Registration::new(database.clone(), clock.clone(), name, options, None, sessions.clone());
        let user = NewUser {
            username: Some(localpart.to_owned()),
            device: Some(CheckedDevice::try_from(SessionDevice::default()).unwrap()),
            ..NewUser::default()
        };
        let registered = registration.register(user, Authorisation::default()).await.unwrap();
        let requester = sessions.authenticate(&registered.tokens.unwrap().access_token, None).await.unwrap();
        let tail = Arc::new(LogTail::new(database.settled_position().await.unwrap()));
        let user_rooms = Arc::new(UserRoomsCache::new(database.clone()));
        let wakeups = Arc::new(Wakeups::default());
        let ignored_users = IgnoredUsers::follow(&database);
        LogFollower::start(&database, tail.clone(), user_rooms.clone(), wakeups.clone());
        let interned = server.interned.clone();
        let stopping = CancellationToken::new();
        let loops = Loops::until(stopping.clone());
        let size = LimitSize { running: NonZeroUsize::MIN, waiting: 100, longest_wait: Duration::from_secs(10) };
        let initial = Arc::new(Limit::new("initial_sync", size, Arc::new(Unobserved)));
        let states = server.states.clone();
        let typing = Typing::start(database.clone(), interned.clone(), clock.clone(), &loops).await.unwrap();
        let (typing, log) = (Arc::new(typing), tail.clone());
        let options = PresenceOptions { enabled: false, idle_after: Duration::ZERO, offline_after: Duration::ZERO };
        let (db, rooms, waiting) = (database.clone(), user_rooms.clone(), wakeups.clone());
        let presences = Presences::start(db, interned.clone(), clock.clone(), rooms, waiting, options, &loops);
        let presences = presences.await.unwrap();
        let (database_of, states_of, numbers) = (database.clone(), states.clone(), interned.clone());
        let history = History::new(database_of, numbers, states_of, clock.clone(), ignored_users.clone(), tail.clone());
        let history = Arc::new(history);
        let providers =
            Providers { database, interned, states, tail: log, user_rooms, ignored_users, typing, presences };
        let sync = Sync::new(providers, clock, wakeups, initial, stopping);
        let sync = Arc::new(sync.with_members_at_once(8));
        Self { sync, history, requester, tail }
    }

    pub(crate) fn position(&self) -> Position {
        self.tail.end()
    }

    /// What is new since a position, or everything.
    pub(crate) async fn answer(&self, since: Option<Position>) -> Vec<u8> {
        let request = SyncRequest { since, ..everything() };
        self.sync.sync(&self.requester, &request).await.unwrap().into_bytes().await.unwrap()
    }

    /// The same, as JSON.
    pub(crate) async fn sync_from(&self, since: Option<Position>) -> Value {
        serde_json::from_slice(&self.answer(since).await).unwrap()
    }

    /// What is new of a room, by what the user is to it.
    async fn news(&self, room: &Room, since: Position) -> Value {
        let answer: Value = serde_json::from_slice(&self.answer(Some(since)).await).unwrap();
        let rooms = &answer["rooms"];
        let of_room = |kind: &str| rooms[kind].get(room.id.as_str()).cloned();
        json!({ "join": of_room("join"), "leave": of_room("leave") })
    }
}

/// A request for everything.
fn everything() -> SyncRequest {
    SyncRequest {
        since: None,
        received_to_device: None,
        timeout: Duration::ZERO,
        wants: Wants { filter: Arc::new(FilterDefinition::default()), full_state: false, state_after: false },
    }
}

fn ids(events: &Value) -> Vec<String> {
    let ids = events.as_array().into_iter().flatten().map(|event| event["event_id"].as_str().unwrap().to_owned());
    ids.collect()
}

async fn room_of_two(server: &Server) -> (Room, Event) {
    let room = Room::with_levels(server, RoomVersion::V11, &json!({ "users": { "@bob:two": 50 } })).await;
    let bob = room.accept(&join("@bob:two"), &[&room.end().await]).await;
    (room, bob)
}

on_both_databases! {
    async fn older_state_that_wins_is_told_again(db: TestDatabase) {
        let server = Server::new(&db).await;
        let alice = Client::new(&server, "alice").await;
        let (room, start) = room_of_two(&server).await;
        let first = room.accept(&topic("@alice:one", "older"), &[&start]).await;
        let second = room.accept(&topic("@bob:two", "of bob"), &[&first]).await;
        let since = alice.position();
        let ban = room.accept(&member("@alice:one", "@bob:two", "ban"), &[&first]).await;
        let news = alice.news(&room, since).await["join"].clone();
        assert_eq!(ids(&news["timeline"]["events"]), [ban.id().to_string()]);
        assert_eq!(ids(&news["state"]["events"]), [first.id().to_string()], "{news:#}");
        assert_eq!(news["summary"]["m.joined_member_count"], json!(1));
        // The same for those who ask the database, on a node that has just been started.
        let late = Client { requester: alice.requester.clone(), ..Client::new(&server, "late").await };
        assert_eq!(late.news(&room, since).await["join"]["state"], news["state"]);
        drop(second);
    }

    async fn whoever_loses_the_membership_leaves_and_others_are_told_the_numbers(db: TestDatabase) {
        let server = Server::new(&db).await;
        let (alice, dora) = (Client::new(&server, "alice").await, Client::new(&server, "dora").await);
        let (room, start) = room_of_two(&server).await;
        let user = (dora.requester.user_sn, dora.requester.user_id.clone());
        let came = room.send_as(&user, &join("@dora:one")).await;
        let since = alice.position();
        assert_eq!(room.head().await.known_members().joined, 3);
        let closed = room.accept(&join_rule("@alice:one", "invite"), &[&start]).await;
        let news = dora.news(&room, since).await;
        assert!(news["join"].is_null(), "{news:#}");
        assert_eq!(ids(&news["leave"]["timeline"]["events"]), [closed.id().to_string()], "{news:#}");
        let news = alice.news(&room, since).await["join"].clone();
        assert_eq!(news["summary"]["m.joined_member_count"], json!(2), "{news:#}");
        let late = Client { requester: dora.requester.clone(), ..Client::new(&server, "late").await };
        assert!(late.news(&room, since).await["leave"].is_object());
        // After that, there is nothing more to be told.
        let since = alice.position();
        room.send(&message("@alice:one", "who was that?")).await;
        let news = dora.news(&room, since).await;
        assert!(news["join"].is_null() && news["leave"].is_null(), "{news:#}");
        drop(came);
    }

    async fn what_is_hidden_is_not_told(db: TestDatabase) {
        let server = Server::new(&db).await;
        let alice = Client::new(&server, "alice").await;
        let (room, start) = room_of_two(&server).await;
        room.send(&member("@alice:one", "@bob:two", "ban")).await;
        let since = alice.position();
        let late = room.build(&topic("@bob:two", "but"), &[&start]);
        assert_eq!(room.standing(&late).await, storage::Standing::SoftFailed);
        let refused = room.build(&join("@bob:two"), &[&room.end().await]);
        assert_eq!(room.standing(&refused).await, storage::Standing::Rejected);
        assert!(alice.news(&room, since).await["join"].is_null());
        let shown = room.send(&message("@alice:one", "good")).await;
        let news = alice.news(&room, since).await["join"].clone();
        assert_eq!(ids(&news["timeline"]["events"]), [shown.id().to_string()]);
        assert!(ids(&news["state"]["events"]).is_empty());
    }

    async fn a_large_room_is_told_piece_by_piece_as_it_was_at_one_position(db: TestDatabase) {
        let server = Server::new(&db).await;
        let alice = Client::new(&server, "alice").await;
        let (room, bob) = room_of_two(&server).await;
        let mut last = room.accept(&topic("@alice:one", "first"), &[&bob]).await;
        let mut expected = BTreeSet::from(["@alice:one".to_owned(), "@bob:two".to_owned()]);
        for number in 0..40 {
            let user = format!("@user{number}:two");
            // The answer is much larger than what waits for a client that does not read on.
            let content = json!({ "membership": "join", "displayname": "x".repeat(30_000) });
            last = room.accept(&state(&user, "m.room.member", &user, content), &[&last]).await;
            expected.insert(user);
        }
        let body = alice.sync.sync(&alice.requester, &everything()).await.unwrap();
        assert!(matches!(body, SyncBody::Pieces(..)), "it is too large for one piece");
        last = room.accept(&topic("@alice:one", "later"), &[&last]).await;
        for gone in ["@user5:two", "@user39:two"] {
            last = room.accept(&member(gone, gone, "leave"), &[&last]).await;
        }
        room.accept(&join("@late:two"), &[&last]).await;

        let answer: Value = serde_json::from_slice(&body.into_bytes().await.unwrap()).unwrap();
        let told = &answer["rooms"]["join"][room.id.as_str()];
        let events = told["state"]["events"].as_array().unwrap().iter();
        let events: Vec<_> = events.chain(told["timeline"]["events"].as_array().unwrap()).collect();
        let members: Vec<_> = events.iter().filter(|event| event["type"] == "m.room.member").collect();
        assert!(members.iter().all(|event| event["content"]["membership"] == "join"));
        assert_eq!(members.len(), expected.len(), "nobody is told twice");
        let members = members.iter().map(|event| event["state_key"].as_str().unwrap().to_owned());
        assert_eq!(members.collect::<BTreeSet<_>>(), expected);
        let topics: Vec<_> = events.iter().filter(|event| event["type"] == "m.room.topic").collect();
        assert_eq!(topics.len(), 1);
        assert_eq!(topics[0]["content"]["topic"], "first");
    }
}
