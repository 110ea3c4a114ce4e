//! What it costs to send a message into a room with few and with many members of this server, on SQLite, and to count what is
//! unread there. Beside it the plain way: to evaluate the message for each member by itself.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may fail loudly")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use homeserver_core::Identity;
use homeserver_core::{RoomSn, SystemClock, Timestamp, UserSn};
use push::unread::Audiences;
use push_rules::{Compiler, PreparedEvent, Recipient, RoomContext, Ruleset, SenderPower};
use room_engine::{CanonicalObject, Numbers, RoomVersion};
use rooms::{Draft, Timeline};
use ruma::signatures::Ed25519KeyPair;
use ruma::{OwnedRoomId, OwnedUserId, UserId, owned_server_name};
use serde_json::{Value, json};
use storage::{Database, DatabaseOptions, Interned, NewAccount, RoomStates, StoredEvent, Synchronous};
use tasks::limits::{Limit, LimitSize, Unobserved};
use testing::TestDatabase;
use tokio_util::sync::CancellationToken;

const MEMBERS: [usize; 3] = [1, 100, 10_000];

/// A room of this server with as many members.
struct Room {
    database: Database,
    timeline: Arc<Timeline>,
    sn: RoomSn,
    id: OwnedRoomId,
    members: Vec<(UserSn, OwnedUserId)>,
    _directory: TestDatabase,
}

fn draft(event_type: &str, state_key: Option<&str>, content: &Value) -> Draft {
    let content = CanonicalObject::parse(content.to_string().as_bytes(), Numbers::Strict).unwrap();
    match state_key {
        Some(state_key) => Draft::state(event_type, state_key, content),
        None => Draft::message(event_type, content),
    }
}

impl Room {
    async fn with_members(count: usize) -> Self {
        let db = TestDatabase::sqlite();
        let options = DatabaseOptions { synchronous: Synchronous::Normal, ..DatabaseOptions::new(db.url()) };
        let database = Database::open(&options).await.unwrap();
        let interned = Arc::new(Interned::new(database.clone()));
        let server_name = owned_server_name!("example.org");
        let key_pair = Ed25519KeyPair::from_der(&Ed25519KeyPair::generate(), "1".to_owned()).unwrap();
        let identity = Arc::new(Identity { server_name: server_name.clone(), key_pair: Arc::new(key_pair) });
        let patience = Duration::from_secs(1);
        let states = RoomStates::follow(&database, server_name.as_str(), patience, CancellationToken::new());
        let states = states.await.unwrap();
        let audiences = Audiences::follow(&database, interned.clone());
        let clock = Arc::new(SystemClock);
        let size = LimitSize { running: NonZeroUsize::MIN, waiting: 1, longest_wait: Duration::from_secs(1) };
        let checks = Arc::new(Limit::new("signature_checks", size, Arc::new(Unobserved)));
        let timeline = Timeline::new(database.clone(), interned.clone(), states, identity, clock, checks, audiences);
        let timeline = Arc::new(timeline);
        let mut members = Vec::with_capacity(count);
        for number in 0..count {
            let user_id = format!("@user{number}:example.org");
            let account = NewAccount {
                user_id: user_id.clone(),
                password_hash: None,
                created_at: Timestamp(0),
                is_admin: false,
                is_guest: false,
                user_type: None,
            };
            database.write(async move |tx| tx.create_account(&account).await).await.unwrap();
            members.push((interned.user(&user_id).await.unwrap(), UserId::parse(user_id).unwrap()));
        }
        let (creator_sn, creator) = &members[0];
        let mut room = timeline.open_new(None, RoomVersion::V12).await;
        let joined = json!({ "membership": "join" });
        for draft in [
            draft("m.room.create", Some(""), &json!({ "room_version": "12" })),
            draft("m.room.member", Some(creator.as_str()), &joined),
            draft("m.room.power_levels", Some(""), &json!({})),
            draft("m.room.join_rules", Some(""), &json!({ "join_rule": "public" })),
        ] {
            room.stage(*creator_sn, creator, &draft).await.unwrap();
        }
        let id = room.room_id().unwrap().to_owned();
        room.submit(None).await.unwrap().stored().await.unwrap();
        let sn = timeline.find(&id).await.unwrap();
        for (user_sn, user_id) in &members[1..] {
            let mut room = timeline.open(sn).await.unwrap();
            let join = draft("m.room.member", Some(user_id.as_str()), &joined);
            room.stage(*user_sn, user_id, &join).await.unwrap();
            room.submit(None).await.unwrap().stored().await.unwrap();
        }
        Self { database, timeline, sn, id, members, _directory: db }
    }

    async fn send(&self, draft: &Draft) -> Arc<StoredEvent> {
        let (user_sn, user_id) = self.members[0].clone();
        let mut room = self.timeline.open(self.sn).await.unwrap();
        room.stage(user_sn, &user_id, draft).await.unwrap();
        room.submit(None).await.unwrap().stored().await.unwrap().pop().unwrap()
    }
}

fn sending(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let message = draft("m.room.message", None, &json!({ "msgtype": "m.text", "body": "Hello, everybody in here" }));
    let mut group = criterion.benchmark_group("sending");
    for count in MEMBERS {
        let room = runtime.block_on(Room::with_members(count));
        let event = runtime.block_on(room.send(&message));
        group.bench_function(format!("{count} members"), |bencher| {
            bencher.iter(|| runtime.block_on(room.send(&message)));
        });
        let (reader, _) = room.members[count - 1];
        let at = runtime.block_on(room.database.position()).unwrap();
        group.bench_function(format!("counting among {count} members"), |bencher| {
            bencher.iter(|| runtime.block_on(room.database.unread(reader, &[room.sn.0], at)).unwrap());
        });
        group.bench_function(format!("one by one for {count} members"), |bencher| {
            bencher.iter(|| black_box(one_by_one(&room, &event.client_json)));
        });
    }
    group.finish();
}

/// How many are notified, found in the plain way.
fn one_by_one(room: &Room, client_json: &[u8]) -> usize {
    let rules = Compiler::new(1024 * 1024).compile(&Ruleset::default());
    let context = RoomContext {
        room_id: room.id.as_str(),
        member_count: u64::try_from(room.members.len()).unwrap(),
        sender_power: SenderPower::Level(0),
        notifications: &BTreeMap::new(),
    };
    let event = PreparedEvent::new(client_json, context).unwrap();
    let notified = room.members.iter().filter(|(_, user_id)| {
        let recipient = Recipient { user_id: user_id.as_str(), display_name: None };
        rules.evaluate(&event, &recipient).is_some_and(|found| found.outcome().notify)
    });
    notified.count()
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(40).measurement_time(Duration::from_secs(4));
    targets = sending
}
criterion_main!(benches);
