//! A room of the server under test, as other servers see it: they build events on whatever they like.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use homeserver_core::{RoomSn, TimelineOrder, UserSn};
use room_engine::auth::auth_types_for_event;
use room_engine::{BuiltEvent, CanonicalObject, EventBuilder, EventReference, Numbers, ParseLimits, Pdu, RoomVersion};
use rooms::{Draft, Reception, RoomError};
use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId, user_id};
use serde_json::{Value, json};
use storage::{GraphEvent, RoomHead, Standing};

use super::server::{NOW, Server, key_pair};

/// What an event is, by type and state key.
pub(crate) type State = BTreeMap<(String, String), Pdu>;

/// An event, with the state after it as the server that made it sees that.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) pdu: Pdu,
    pub(crate) after: State,
}

impl Event {
    pub(crate) fn id(&self) -> &EventId {
        self.pdu.event_id()
    }

    pub(crate) fn json(&self) -> Vec<u8> {
        self.pdu.to_json()
    }
}

/// An event that another server is about to make.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) sender: String,
    pub(crate) event_type: String,
    pub(crate) state_key: Option<String>,
    pub(crate) content: Value,
    pub(crate) redacts: Option<OwnedEventId>,
    pub(crate) event_id: Option<OwnedEventId>,
    /// What it names as its auth events, if not what it should.
    pub(crate) auth_events: Option<Vec<Pdu>>,
    pub(crate) depth: Option<i64>,
    pub(crate) origin_server_ts: Option<i64>,
}

/// A message.
pub(crate) fn message(sender: &str, body: &str) -> Plan {
    Plan {
        sender: sender.to_owned(),
        event_type: "m.room.message".to_owned(),
        state_key: None,
        content: json!({ "body": body, "msgtype": "m.text" }),
        redacts: None,
        event_id: None,
        auth_events: None,
        depth: None,
        origin_server_ts: None,
    }
}

/// A state event.
pub(crate) fn state(sender: &str, event_type: &str, state_key: &str, content: Value) -> Plan {
    let (event_type, state_key) = (event_type.to_owned(), Some(state_key.to_owned()));
    Plan { event_type, state_key, content, ..message(sender, "") }
}

/// A topic.
pub(crate) fn topic(sender: &str, text: &str) -> Plan {
    state(sender, "m.room.topic", "", json!({ "topic": text }))
}

/// What somebody makes of the membership of a user.
pub(crate) fn member(sender: &str, user: &str, membership: &str) -> Plan {
    state(sender, "m.room.member", user, json!({ "membership": membership }))
}

/// Somebody's own join.
pub(crate) fn join(user: &str) -> Plan {
    member(user, user, "join")
}

/// Who may join.
pub(crate) fn join_rule(sender: &str, rule: &str) -> Plan {
    state(sender, "m.room.join_rules", "", json!({ "join_rule": rule }))
}

/// A redaction.
pub(crate) fn redaction(sender: &str, target: &EventId) -> Plan {
    let (event_type, redacts) = ("m.room.redaction".to_owned(), Some(target.to_owned()));
    Plan { event_type, redacts, content: json!({}), ..message(sender, "") }
}

/// Stands for a value that is nested almost as deep as an event can be.
pub(crate) const DEEP: &str = "DEEP";
/// How deep that is.
const DEEP_LEVELS: usize = 30_000;

pub(crate) fn canonical(content: &Value) -> CanonicalObject {
    let mut text = content.to_string();
    let place = format!("{DEEP:?}");
    if text.contains(&place) {
        text = text.replace(&place, &format!("{}{}", "[".repeat(DEEP_LEVELS), "]".repeat(DEEP_LEVELS)));
    }
    CanonicalObject::parse_within(text.as_bytes(), ParseLimits::event(Numbers::Strict)).unwrap()
}

/// A room.
pub(crate) struct Room {
    pub(crate) server: Server,
    pub(crate) id: OwnedRoomId,
    pub(crate) sn: RoomSn,
    pub(crate) version: RoomVersion,
    /// The user of this server who made it.
    pub(crate) alice: (UserSn, OwnedUserId),
    /// Whether it has had more ends than a room may have.
    pub(crate) gives_up_ends: AtomicBool,
    made: AtomicI64,
}

impl Room {
    /// A room that everybody may join, made by `@alice:one`.
    pub(crate) async fn create(server: &Server, version: RoomVersion) -> Self {
        Self::with_levels(server, version, &json!({})).await
    }

    /// The same, in which other users have power.
    pub(crate) async fn with_levels(server: &Server, version: RoomVersion, levels: &Value) -> Self {
        let alice = (server.interned.user("@alice:one").await.unwrap(), user_id!("@alice:one").to_owned());
        let number = server.rooms.fetch_add(1, Ordering::Relaxed);
        let id = format!("!room{number}:one");
        let id = (!version.room_id_is_create_hash()).then(|| RoomId::parse(id).unwrap());
        let mut room = server.timeline.open_new(id, version).await;
        for draft in first_drafts(version, levels) {
            room.stage(alice.0, &alice.1, &draft).await.unwrap();
        }
        let id = room.room_id().unwrap().to_owned();
        room.submit(None).await.unwrap().stored().await.unwrap();
        let sn = server.timeline.find(&id).await.unwrap();
        Self {
            server: server.clone(),
            id,
            sn,
            version,
            alice,
            gives_up_ends: AtomicBool::new(false),
            made: AtomicI64::new(number * 1_000_000),
        }
    }

    /// The same room where another server under test has it.
    pub(crate) fn at(&self, server: &Server, sn: RoomSn) -> Self {
        let (id, version, alice) = (self.id.clone(), self.version, self.alice.clone());
        let (gives_up_ends, made) = (AtomicBool::new(false), AtomicI64::new(0));
        Self { server: server.clone(), id, sn, version, alice, gives_up_ends, made }
    }

    /// Sends an event as a user of the server under test does.
    pub(crate) async fn send_as(&self, (user_sn, user_id): &(UserSn, OwnedUserId), plan: &Plan) -> Event {
        let draft = Draft {
            event_type: plan.event_type.clone(),
            state_key: plan.state_key.clone(),
            content: canonical(&plan.content),
            redacts: plan.redacts.clone(),
        };
        let pdu = loop {
            let mut room = self.server.timeline.open(self.sn).await.unwrap();
            let pdu = room.stage(*user_sn, user_id, &draft).await.unwrap();
            match room.submit(None).await.unwrap().stored().await {
                Ok(_) => break pdu,
                Err(RoomError::Contended) => {}
                Err(error) => panic!("{error}"),
            }
        };
        Event { pdu, after: self.current_state().await }
    }

    /// Sends an event as `@alice:one`.
    pub(crate) async fn send(&self, plan: &Plan) -> Event {
        self.send_as(&self.alice, plan).await
    }

    /// The only end of the room.
    pub(crate) async fn end(&self) -> Event {
        let ends = self.head().await.extremities;
        assert_eq!(ends.len(), 1, "the room has one end");
        let event = self.server.database.graph_events(&ends).await.unwrap().pop().unwrap();
        Event { pdu: self.parse(&event), after: self.current_state().await }
    }

    /// The event that another server makes of a plan, on top of others.
    pub(crate) fn build(&self, plan: &Plan, prev_events: &[&Event]) -> Event {
        let mut before = State::new();
        for event in prev_events {
            for (place, pdu) in &event.after {
                before.entry(place.clone()).or_insert_with(|| pdu.clone());
            }
        }
        let content = canonical(&plan.content);
        let sender = UserId::parse(&*plan.sender).unwrap();
        let auth_events = plan.auth_events.clone().unwrap_or_else(|| {
            let state_key = plan.state_key.as_deref();
            let types = auth_types_for_event(self.version, &plan.event_type, &sender, state_key, &content).unwrap();
            let named = types.iter().filter_map(|(kind, key)| before.get(&(kind.to_string(), key.to_string())));
            named.cloned().collect()
        });
        let references = |events: &[Pdu]| events.iter().map(Pdu::reference).collect::<Vec<EventReference>>();
        let prev: Vec<Pdu> = prev_events.iter().map(|event| event.pdu.clone()).collect();
        let made = self.made.fetch_add(1, Ordering::Relaxed);
        let id = EventId::parse(format!("${made}:{}", sender.server_name())).unwrap();
        let builder = EventBuilder {
            version: self.version,
            room_id: Some(&self.id),
            event_id: Some(plan.event_id.as_ref().unwrap_or(&id)),
            sender: &sender,
            event_type: &plan.event_type,
            state_key: plan.state_key.as_deref(),
            content,
            redacts: plan.redacts.as_deref(),
            prev_events: &references(&prev),
            auth_events: &references(&auth_events),
            depth: plan.depth.unwrap_or_else(|| prev.iter().map(Pdu::depth).max().unwrap_or_default() + 1),
            origin_server_ts: plan.origin_server_ts.unwrap_or(NOW + 1_000 + made % 1_000_000),
        };
        let server = sender.server_name();
        let BuiltEvent { pdu, .. } = builder.build(server, &key_pair(server)).unwrap();
        if let Some(state_key) = &plan.state_key {
            before.insert((plan.event_type.clone(), state_key.clone()), pdu.clone());
        }
        Event { pdu, after: before }
    }

    /// Has the server under test take in an event.
    pub(crate) async fn receive(&self, event: &Event) -> Reception {
        self.receive_json(&event.json()).await
    }

    pub(crate) async fn receive_json(&self, json: &[u8]) -> Reception {
        let reception = self.server.timeline.receive(&self.id, json, &*self.server.keys).await.unwrap();
        self.assert_consistent().await;
        reception
    }

    /// Builds an event, and has it taken in as one of the room.
    pub(crate) async fn accept(&self, plan: &Plan, prev_events: &[&Event]) -> Event {
        let event = self.build(plan, prev_events);
        let reception = self.receive(&event).await;
        assert!(matches!(reception, Reception::Stored(Standing::Accepted, None)), "{reception:?} of {:?}", event.pdu);
        event
    }

    /// The standing in which an event was stored.
    pub(crate) async fn standing(&self, event: &Event) -> Standing {
        match self.receive(event).await {
            Reception::Stored(standing, _) => standing,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn head(&self) -> RoomHead {
        self.server.database.room_head(self.sn).await.unwrap().unwrap()
    }

    pub(crate) async fn graph(&self) -> Vec<GraphEvent> {
        self.server.database.graph_events_after(self.sn, TimelineOrder(i64::MIN), 100_000).await.unwrap()
    }

    pub(crate) async fn stored(&self, event: &Event) -> GraphEvent {
        let ids = [event.id().to_string()];
        self.server.database.graph_events_by_id(self.sn, &ids).await.unwrap().pop().unwrap()
    }

    pub(crate) fn parse(&self, event: &GraphEvent) -> Pdu {
        let (client, federation) = (event.stored.client_json.clone(), event.stored.federation_json.clone());
        Pdu::from_stored(self.version, self.id.clone(), client, federation).unwrap()
    }

    /// The current state, as the table has it.
    pub(crate) async fn current_state(&self) -> State {
        let entries = self.server.database.stored_current_state(self.sn).await.unwrap();
        let sns: Vec<_> = entries.iter().map(|(_, sn)| *sn).collect();
        let events = self.server.database.graph_events(&sns).await.unwrap();
        let place = |pdu: &Pdu| (pdu.event_type().to_owned(), pdu.state_key().unwrap().to_owned());
        events.iter().map(|event| self.parse(event)).map(|pdu| (place(&pdu), pdu)).collect()
    }

    /// The ID of the event at one place of the current state.
    pub(crate) async fn current(&self, event_type: &str, state_key: &str) -> Option<OwnedEventId> {
        let state = self.current_state().await;
        state.get(&(event_type.to_owned(), state_key.to_owned())).map(|pdu| pdu.event_id().to_owned())
    }

    pub(crate) async fn membership(&self, user: &str) -> Option<storage::Membership> {
        let user_sn = self.server.interned.user(user).await.unwrap();
        Some(self.server.database.membership(self.sn, user_sn).await.unwrap()?.membership)
    }

    /// The IDs of the events that clients see.
    pub(crate) async fn timeline(&self) -> Vec<String> {
        let events = self
            .server
            .database
            .timeline_forwards(self.sn, TimelineOrder::START, TimelineOrder::END, 10_000, None)
            .await
            .unwrap();
        events.into_iter().map(|event| event.event_id.into()).collect()
    }

    /// The IDs of the ends of the room, in order.
    pub(crate) async fn ends(&self) -> Vec<OwnedEventId> {
        let ends = self.server.database.graph_events(&self.head().await.extremities).await.unwrap();
        let mut ids: Vec<_> = ends.iter().map(|event| EventId::parse(&*event.stored.event_id).unwrap()).collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) async fn assert_ends(&self, events: &[&Event]) {
        let mut ids: Vec<_> = events.iter().map(|event| event.id().to_owned()).collect();
        ids.sort_unstable();
        assert_eq!(self.ends().await, ids);
    }
}

/// The events with which a room begins.
pub(crate) fn first_drafts(version: RoomVersion, levels: &Value) -> Vec<Draft> {
    let mut create = json!({ "room_version": version.as_str() });
    let mut power = levels.clone();
    if version < RoomVersion::V11 {
        create["creator"] = json!("@alice:one");
    }
    if version < RoomVersion::V12 {
        power["users"]["@alice:one"] = json!(100);
    }
    let join = json!({ "membership": "join" });
    let states = [
        ("m.room.create", "", create),
        ("m.room.member", "@alice:one", join),
        ("m.room.power_levels", "", power),
        ("m.room.join_rules", "", json!({ "join_rule": "public" })),
        ("m.room.history_visibility", "", json!({ "history_visibility": "shared" })),
    ];
    states.map(|(kind, key, content)| Draft::state(kind, key, canonical(&content))).into()
}
