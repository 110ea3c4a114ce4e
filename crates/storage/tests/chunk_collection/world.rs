//! Rooms with states, and what has to be found in them, kept without chunks.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use homeserver_core::{EventSn, KeySn, RoomSn, Timestamp, TypeSn, UserSn};
use rand::Rng as _;
use rand::rngs::StdRng;
use room_engine::state_map::{Chunk, ChunkId, Place, StateMap};
use storage::{
    Append, AppendOutcome, Arrival, Database, DatabaseOptions, EventNumber, NewEvent, Standing, StateBefore,
    StateEffect, params,
};
use testing::TestDatabase;

pub(crate) type State = BTreeMap<Place, EventSn>;

/// The ID of a chunk, as it is stored.
type StoredId = [u8; ChunkId::BYTES];

/// Places that change.
const PLACES: i64 = 500;
/// Events that can be in a place, from numbers that the log does not reach. There are so few that states often come back.
const EVENTS: std::ops::Range<i64> = 1_000_000..1_000_003;

pub(crate) fn place(number: i64) -> Place {
    Place::new(TypeSn(number % 7), KeySn(number))
}

/// An append, with the states after it.
pub(crate) struct Draft {
    append: Append,
    after: State,
    head_after: State,
}

/// Rooms in one database, which several nodes have open.
pub(crate) struct World {
    pub(crate) nodes: Vec<Database>,
    url: String,
    /// The states after the events of each room, and that of its head.
    rooms: BTreeMap<i64, (BTreeMap<i64, State>, State)>,
    events_made: u32,
}

impl World {
    pub(crate) async fn new(database: &TestDatabase, nodes: usize) -> Self {
        let url = database.url().to_owned();
        let mut world = Self { nodes: Vec::new(), url, rooms: BTreeMap::new(), events_made: 0 };
        for _ in 0..nodes {
            world.nodes.push(world.another_node().await);
        }
        world
    }

    /// A node that has nothing in its caches.
    pub(crate) async fn another_node(&self) -> Database {
        Database::open(&DatabaseOptions::new(&*self.url)).await.unwrap()
    }

    pub(crate) fn events(&self, room: i64) -> Vec<i64> {
        self.rooms.get(&room).map(|(events, _)| events.keys().copied().collect()).unwrap_or_default()
    }

    /// An event whose state is `changes` of that after the event `base`, or of nothing; the head gets `head_changes`, or
    /// the state of the event.
    pub(crate) async fn draft(
        &mut self,
        room: i64,
        standing: Standing,
        base: Option<i64>,
        changes: Vec<(Place, Option<EventSn>)>,
        head_changes: Option<Vec<(Place, EventSn)>>,
    ) -> Draft {
        let node = &self.nodes[0];
        let version = node.room_head(RoomSn(room)).await.unwrap().map_or(0, |head| head.version);
        let (events, head) = self.rooms.entry(room).or_default();
        let mut after = base.map_or_else(State::new, |base| events[&base].clone());
        for (place, event) in &changes {
            match event {
                Some(event) => after.insert(*place, *event),
                None => after.remove(place),
            };
        }
        let base = match base {
            Some(base) => node.graph_events(&[EventSn(base)]).await.unwrap()[0].state.unwrap(),
            None => StateMap::EMPTY,
        };
        let mut head_after = if head_changes.is_some() { head.clone() } else { after.clone() };
        head_after.extend(head_changes.iter().flatten().copied());
        self.events_made += 1;
        let event = message(self.events_made, standing, StateBefore { base, changes });
        let effect = |(place, sn): (Place, EventSn)| {
            let event = Some(EventNumber::known(sn));
            StateEffect { place, event, replaces: None, membership: None, membership_before: None }
        };
        let append = Append {
            room_sn: RoomSn(room),
            room_version: "12".into(),
            expected_version: version,
            new_version: version + 1,
            events: vec![event],
            resolved: head_changes.map(|changes| changes.into_iter().map(effect).collect()),
            extremities: None,
            transaction: None,
            joined_change: 0,
            invited_change: 0,
            also: None,
            is_entry: false,
        };
        Draft { append, after, head_after }
    }

    /// Appends, and returns the event's number; `None` if the draft was stale.
    pub(crate) async fn append(&mut self, node: usize, draft: Draft) -> Option<i64> {
        let Draft { append, after, head_after } = draft;
        let room = append.room_sn.0;
        let outcome = self.nodes[node].append(append).await.unwrap().await.unwrap().unwrap();
        let AppendOutcome::Appended(stored) = outcome else { return None };
        let sn = stored[0].sn.0;
        let (events, head) = self.rooms.entry(room).or_default();
        events.insert(sn, after);
        *head = head_after;
        Some(sn)
    }

    /// Removes an event, as a purge does.
    pub(crate) async fn purge(&mut self, node: usize, room: i64, event: i64) {
        let purge = async move |tx: &mut storage::Tx| {
            tx.renew_head(RoomSn(room)).await?;
            tx.execute("DELETE FROM events WHERE event_sn = $1", params![event]).await
        };
        assert_eq!(self.nodes[node].write(purge).await.unwrap(), 1);
        self.rooms.get_mut(&room).unwrap().0.remove(&event);
    }

    pub(crate) async fn delete_room(&mut self, node: usize, room: i64) {
        let delete = async move |tx: &mut storage::Tx| {
            tx.renew_head(RoomSn(room)).await?;
            tx.execute("DELETE FROM events WHERE room_sn = $1", params![room]).await?;
            tx.execute("DELETE FROM room_heads WHERE room_sn = $1", params![room]).await
        };
        self.nodes[node].write(delete).await.unwrap();
        self.rooms.remove(&room);
    }

    /// Every state is as it has to be, for a node that has nothing cached.
    pub(crate) async fn check(&self) {
        let node = self.another_node().await;
        for (room, (events, head)) in &self.rooms {
            let numbers: Vec<EventSn> = events.keys().map(|sn| EventSn(*sn)).collect();
            let stored = node.graph_events(&numbers).await.unwrap();
            assert_eq!(stored.len(), events.len(), "room {room}");
            for event in stored {
                let sn = event.stored.sn.0;
                assert!(read(&node, event.state.unwrap()).await == events[&sn], "room {room}, event {sn}");
            }
            if let Some(stored) = node.room_head(RoomSn(*room)).await.unwrap() {
                assert!(read(&node, stored.state.unwrap()).await == *head, "the head of room {room}");
            }
        }
        node.close().await;
    }

    /// How many levels the largest state has.
    pub(crate) async fn levels(&self) -> u8 {
        let read = |row: &storage::Row<'_>| Ok((ChunkId::from(row.get::<StoredId>(0)?), row.get::<Bytes>(1)?));
        let stored = self.nodes[0].query("SELECT chunk_id, bytes FROM state_chunks", &[], read).await.unwrap();
        let levels = stored.into_iter().map(|(id, bytes)| Chunk::parse(id, bytes).unwrap().level() + 1);
        levels.max().unwrap_or_default()
    }

    /// How many chunks are stored, and how many of them are needed.
    pub(crate) async fn chunks(&self) -> (usize, usize) {
        let node = &self.nodes[0];
        let roots = "SELECT state_root FROM events UNION SELECT state_root FROM room_heads";
        let read = |row: &storage::Row<'_>| Ok(row.get::<Option<StoredId>>(0)?.map(ChunkId::from));
        let mut unread: Vec<Option<ChunkId>> = node.query(roots, &[], read).await.unwrap();
        let read = |row: &storage::Row<'_>| Ok((ChunkId::from(row.get::<StoredId>(0)?), row.get::<Bytes>(1)?));
        let stored = node.query("SELECT chunk_id, bytes FROM state_chunks", &[], read).await.unwrap();
        let stored: HashMap<ChunkId, Bytes> = stored.into_iter().collect();
        let mut needed = HashSet::new();
        while let Some(id) = unread.pop() {
            if let Some(id) = id.filter(|id| *id != ChunkId::EMPTY && needed.insert(*id)) {
                unread.extend(Chunk::parse(id, stored[&id].clone()).unwrap().children().map(Some));
            }
        }
        (stored.len(), needed.len())
    }
}

async fn read(node: &Database, state: StateMap) -> State {
    node.with_chunks(|chunks| state.iter(chunks)).await.unwrap().collect()
}

fn message(number: u32, standing: Standing, before: StateBefore) -> NewEvent {
    NewEvent {
        number: EventNumber::default(),
        event_id: format!("${number}").into(),
        type_sn: TypeSn(1),
        state_key_sn: None,
        sender_sn: UserSn(1),
        origin_server_ts: Timestamp(1),
        depth: 1,
        client_json: Bytes::from_static(b"{}"),
        federation_json: Bytes::from_static(b"{}"),
        unread: std::sync::Arc::default(),
        replaces: None,
        membership: None,
        redacts: None,
        standing,
        auth_events: Vec::new(),
        previous_in_chain: None,
        state_before: Some(before),
        arrival: Arrival::default(),
    }
}

/// A state with so many entries.
pub(crate) fn state_of(entries: i64) -> Vec<(Place, Option<EventSn>)> {
    let all: State = (0..entries).map(|number| (place(number), EventSn(EVENTS.start + number % 3))).collect();
    all.into_iter().map(|(place, event)| (place, Some(event))).collect()
}

/// A few places with other events, or none.
pub(crate) fn random_changes(random: &mut StdRng) -> Vec<(Place, Option<EventSn>)> {
    let count = random.random_range(0..4);
    let one = |_| {
        let event = random.random_bool(0.75).then(|| EventSn(random.random_range(EVENTS)));
        (place(random.random_range(0..PLACES)), event)
    };
    let changes: BTreeMap<Place, Option<EventSn>> = (0..count).map(one).collect();
    changes.into_iter().collect()
}
