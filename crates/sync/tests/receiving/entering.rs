//! Rooms that this server enters by what another server tells of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use room_engine::RoomVersion;
use rooms::{Imported, Reception, RoomError, RoomImport, ToldState, ToldStates};
use serde_json::{Value, json};
use storage::{KnownState, LogEntry, Membership, Standing};
use testing::{TestDatabase, on_both_databases};

use super::histories::another;
use super::room::{Event, Plan, Room, State, join, member, message, state, topic};
use super::server::Server;

/// How many rooms were made elsewhere.
static MADE: AtomicI64 = AtomicI64::new(0);

/// A room of other servers, which this one is not in.
struct Elsewhere {
    room: Room,
    _database: TestDatabase,
    end: Event,
}

impl Elsewhere {
    async fn new(db: &TestDatabase, version: RoomVersion) -> Self {
        let database = another(db).await;
        let server = Server::new(&database).await;
        // Every room has an ID of its own, whichever server it is made on.
        server.rooms.store(MADE.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let room = Room::with_levels(&server, version, &json!({ "users": { "@bob:two": 50 } })).await;
        let bob = room.accept(&join("@bob:two"), &[&room.end().await]).await;
        let end = room.accept(&topic("@bob:two", "tea"), &[&bob]).await;
        Self { room, _database: database, end }
    }

    /// What its servers answer to the join, which they have accepted.
    async fn import(&self, join: &Event, before: &State) -> RoomImport {
        let graph = self.room.graph().await;
        let state_events = graph.iter().map(|event| self.room.parse(event)).filter(|pdu| pdu.state_key().is_some());
        RoomImport {
            room_id: self.room.id.clone(),
            room_version: self.room.version,
            state: before.values().map(|pdu| pdu.to_json().into()).collect(),
            auth_chain: state_events.map(|pdu| pdu.to_json().into()).collect(),
            member_event: join.json().into(),
            is_partial: false,
            servers_in_room: Vec::new(),
        }
    }

    /// The room as this server has it, after `@dan:one` has joined.
    async fn entered(&self, server: &Server) -> (Room, Event) {
        server.register("@dan:one").await;
        let join = self.room.build(&join("@dan:one"), &[&self.end]);
        let import = self.import(&join, &self.end.after).await;
        let room = self.enter(server, import).await.unwrap();
        (room, join)
    }

    async fn enter(&self, server: &Server, import: RoomImport) -> Result<Room, RoomError> {
        let Imported { room_sn, .. } = server.timeline.import_room(&import, &*server.keys).await?;
        let room = self.room.at(server, room_sn);
        room.assert_consistent().await;
        room.assert_auth_chains().await;
        Ok(room)
    }
}

fn ids(state: &State) -> Vec<String> {
    state.values().map(|pdu| pdu.event_id().to_string()).collect()
}

/// The IDs of the events that the log told of, and how many other changes of the state it told of.
fn told(server: &Server) -> (Vec<String>, usize) {
    let news = server.log.news();
    let events = news.iter().filter_map(|entry| match entry {
        LogEntry::Event(event) => Some(event.event_id.to_string()),
        _ => None,
    });
    let resolved = news.iter().filter(|entry| matches!(entry, LogEntry::StateResolved { .. })).count();
    (events.collect(), resolved)
}

/// The event with something changed after it was signed.
fn forged(event: &Bytes, change: impl Fn(&mut Value)) -> Bytes {
    let mut json: Value = serde_json::from_slice(event).unwrap();
    change(&mut json);
    json.to_string().into()
}

on_both_databases! {
    async fn the_room_has_the_state_that_was_told_and_begins_with_the_join(db: TestDatabase) {
        let server = Server::new(&db).await;
        // The rooms of versions 1 and 2 would have events with the same IDs.
        for version in RoomVersion::ALL.into_iter().filter(|version| *version != RoomVersion::V2) {
            let elsewhere = Elsewhere::new(&db, version).await;
            server.log.news();
            let (room, joined) = elsewhere.entered(&server).await;
            assert_eq!(told(&server), (vec![joined.id().to_string()], 0), "{version:?}");
            assert_eq!(ids(&room.current_state().await), ids(&joined.after));
            assert_eq!(room.timeline().await, [joined.id().to_string()]);
            room.assert_ends(&[&joined]).await;
            assert_eq!(room.membership("@dan:one").await, Some(Membership::Join));
            assert_eq!(room.head().await.known_members().joined, 3);
            assert!(matches!(server.states.of(room.sn), KnownState::Full(_)));
            // Its create event has no place here yet, and coming again changes nothing.
            let create = joined.after[&("m.room.create".to_owned(), String::new())].to_json();
            let again = server.timeline.receive(&room.id, &create, &*server.keys).await.unwrap();
            assert!(matches!(again, Reception::Known(Standing::Outlier)), "{again:?}");
            // The room goes on for this server.
            let said = room.accept(&message("@bob:two", "welcome"), &[&joined]).await;
            room.accept(&topic("@bob:two", "coffee"), &[&said]).await;
            room.assert_auth_chains().await;
        }
    }

    async fn a_room_is_entered_again_with_what_changed_in_the_meantime(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in [RoomVersion::V1, RoomVersion::V11, RoomVersion::V12] {
            let elsewhere = Elsewhere::new(&db, version).await;
            let (room, joined) = elsewhere.entered(&server).await;
            let left = room.accept(&member("@dan:one", "@dan:one", "leave"), &[&joined]).await;
            // The others go on, and this server hears nothing of it.
            let carol = room.build(&join("@carol:three"), &[&left]);
            let changed = room.build(&topic("@bob:two", "coffee"), &[&carol]);
            let gone = room.build(&member("@bob:two", "@bob:two", "leave"), &[&changed]);
            let again = room.build(&join("@dan:one"), &[&gone]);
            let mut import = elsewhere.import(&again, &gone.after).await;
            let history = [&joined, &left, &carol, &changed, &gone];
            import.auth_chain.extend(history.map(|event| Bytes::from(event.json())));
            server.log.news();
            let room = elsewhere.enter(&server, import.clone()).await.unwrap();
            let (events, resolved) = told(&server);
            assert_eq!((events, resolved), (vec![again.id().to_string()], 3), "{version:?}");
            assert_eq!(ids(&room.current_state().await), ids(&again.after));
            assert_eq!(room.membership("@bob:two").await, Some(Membership::Leave));
            assert_eq!(room.membership("@dan:one").await, Some(Membership::Join));
            room.assert_ends(&[&again]).await;
            // The same once more changes nothing.
            let version = room.head().await.version;
            elsewhere.enter(&server, import).await.unwrap();
            assert_eq!(room.head().await.version, version);
        }
    }

    async fn a_state_without_members_is_known_in_part(db: TestDatabase) {
        let server = Server::new(&db).await;
        let elsewhere = Elsewhere::new(&db, RoomVersion::V11).await;
        server.register("@dan:one").await;
        let joined = elsewhere.room.build(&join("@dan:one"), &[&elsewhere.end]);
        let mut import = elsewhere.import(&joined, &elsewhere.end.after).await;
        import.is_partial = true;
        let of_bob = |json: &Bytes| String::from_utf8_lossy(json).contains("\"state_key\":\"@bob:two\"");
        import.state.retain(|json| !of_bob(json));
        let room = elsewhere.enter(&server, import).await.unwrap();
        assert!(matches!(server.states.of(room.sn), KnownState::Partial(_)));
        assert_eq!(room.membership("@bob:two").await, None);
        let said = room.accept(&message("@dan:one", "hello"), &[&joined]).await;
        // That bob is in the room is what his event names.
        let answer = room.accept(&message("@bob:two", "welcome"), &[&said]).await;
        room.accept(&topic("@bob:two", "milk"), &[&answer]).await;

        let identity = server.timeline.identity_of(&room.id).await.unwrap();
        let whole: Vec<_> = elsewhere.end.after.values().map(|pdu| pdu.event_id().to_owned()).collect();
        assert!(!server.timeline.complete_state(&identity, &HashMap::new()).await.unwrap(), "nothing was told");
        let told = HashMap::from([(joined.id().to_owned(), ToldStates::before(whole))]);
        assert!(server.timeline.complete_state(&identity, &told).await.unwrap());
        assert!(matches!(server.states.of(room.sn), KnownState::Full(_)));
        assert_eq!(room.membership("@bob:two").await, Some(Membership::Join));
        assert_eq!(room.current_state().await.len(), joined.after.len());
        room.assert_consistent().await;
        room.assert_auth_chains().await;
        // Once more changes nothing.
        assert!(server.timeline.complete_state(&identity, &told).await.unwrap());
        room.assert_consistent().await;
    }

    async fn what_was_judged_by_a_part_of_the_state_is_judged_again(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in [RoomVersion::V6, RoomVersion::V11] {
            let elsewhere = Elsewhere::new(&db, version).await;
            let there = &elsewhere.room;
            let users = json!({ "@alice:one": 100, "@bob:two": 50, "@carol:three": 50, "@eve:three": 60 });
            let levels = state("@alice:one", "m.room.power_levels", "", json!({ "users": users }));
            let levels = there.accept(&levels, &[&elsewhere.end]).await;
            let eve = there.accept(&join("@eve:three"), &[&levels]).await;
            let left = there.accept(&member("@eve:three", "@eve:three", "leave"), &[&eve]).await;
            let carol = there.accept(&join("@carol:three"), &[&left]).await;
            server.register("@dan:one").await;
            let joined = there.build(&join("@dan:one"), &[&carol]);
            let mut import = elsewhere.import(&joined, &carol.after).await;
            import.is_partial = true;
            import.state.retain(|json| !String::from_utf8_lossy(json).contains("m.room.member"));
            let room = elsewhere.enter(&server, import).await.unwrap();

            // Eve is not in the room any more, which is not known here, and so has no say in who else is.
            let create = carol.after[&("m.room.create".to_owned(), String::new())].clone();
            let auth_events = Some(vec![create, levels.pdu.clone(), eve.pdu.clone(), carol.pdu.clone()]);
            let kick = Plan { auth_events, ..member("@eve:three", "@carol:three", "leave") };
            let kick = Event { after: joined.after.clone(), ..room.build(&kick, &[&joined]) };
            assert_eq!(room.standing(&kick).await, Standing::Accepted, "{version:?}");
            let cola = room.build(&topic("@carol:three", "cola"), &[&kick]);
            assert_eq!(room.standing(&cola).await, Standing::Rejected, "{version:?}");
            let said = room.accept(&message("@bob:two", "I like it"), &[&cola]).await;
            assert_eq!(room.current("m.room.topic", "").await.as_deref(), Some(elsewhere.end.id()));

            let identity = server.timeline.identity_of(&room.id).await.unwrap();
            let whole = carol.after.values().map(|pdu| pdu.event_id().to_owned()).filter(|id| id != carol.id());
            // As servers tell it of the event before the one by which this server has entered.
            let told = ToldState { events: whole.collect(), then: Some(carol.id().to_owned()) };
            let told = HashMap::from([(joined.id().to_owned(), ToldStates::AfterMissing(vec![told]))]);
            assert!(server.timeline.complete_state(&identity, &told).await.unwrap());
            assert_eq!(room.stored(&kick).await.standing, Standing::Rejected, "{version:?}");
            assert_eq!(room.stored(&cola).await.standing, Standing::Accepted, "{version:?}");
            assert_eq!(room.current("m.room.topic", "").await.as_deref(), Some(cola.id()));
            assert_eq!(room.membership("@carol:three").await, Some(Membership::Join));
            assert_eq!(room.membership("@eve:three").await, Some(Membership::Leave));
            room.assert_ends(&[&said]).await;
            room.assert_consistent().await;
            room.assert_auth_chains().await;
        }
    }

    async fn what_is_no_room_is_refused_and_nothing_is_stored(db: TestDatabase) {
        let server = Server::new(&db).await;
        let elsewhere = Elsewhere::new(&db, RoomVersion::V11).await;
        let other = Elsewhere::new(&db, RoomVersion::V11).await;
        let joined = elsewhere.room.build(&join("@dan:one"), &[&elsewhere.end]);
        let good = elsewhere.import(&joined, &elsewhere.end.after).await;
        let with = |change: &dyn Fn(&mut RoomImport)| {
            let mut import = good.clone();
            change(&mut import);
            import
        };
        let is_create = |json: &Bytes| String::from_utf8_lossy(json).contains("m.room.create");
        let stranger = Bytes::from(other.end.json());
        let tea = Bytes::from(elsewhere.room.build(&topic("@bob:two", "more tea"), &[&elsewhere.end]).json());
        let said = Bytes::from(elsewhere.room.build(&message("@bob:two", "hello"), &[&elsewhere.end]).json());
        let refused = [
            with(&|import| import.state.retain(|json| !is_create(json))),
            with(&|import| import.state.push(stranger.clone())),
            with(&|import| import.auth_chain.push(stranger.clone())),
            with(&|import| import.state.push(tea.clone())),
            with(&|import| import.state.push(said.clone())),
            with(&|import| import.member_event = said.clone()),
            with(&|import| import.member_event = forged(&import.member_event, |json| json["depth"] = json!(1))),
            with(&|import| import.room_version = RoomVersion::V9),
        ];
        for import in refused {
            let outcome = elsewhere.enter(&server, import).await;
            assert!(matches!(outcome, Err(RoomError::Invalid(_))), "{:?}", outcome.err());
        }
        let sn = server.interned.room(elsewhere.room.id.as_str()).await.unwrap();
        assert!(elsewhere.room.at(&server, sn).graph().await.is_empty());
        // What cannot be checked is left out, and the rest is enough.
        let import = with(&|import| import.state.push(forged(&tea, |json| json["state_key"] = json!("x"))));
        elsewhere.enter(&server, import).await.unwrap();
    }

    async fn who_may_not_join_does_not_get_in(db: TestDatabase) {
        let server = Server::new(&db).await;
        let elsewhere = Elsewhere::new(&db, RoomVersion::V11).await;
        let banned = elsewhere.room.build(&member("@bob:two", "@dan:one", "ban"), &[&elsewhere.end]);
        assert_eq!(elsewhere.room.standing(&banned).await, Standing::Accepted);
        let joined = elsewhere.room.build(&join("@dan:one"), &[&banned]);
        let import = elsewhere.import(&joined, &banned.after).await;
        let outcome = elsewhere.enter(&server, import).await;
        assert!(matches!(outcome, Err(RoomError::Forbidden(_))), "{:?}", outcome.err());
    }
}
