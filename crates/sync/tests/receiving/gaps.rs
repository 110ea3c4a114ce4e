//! Gaps in timelines, and the past that fills them.

use std::collections::HashMap;

use accounts::filters::RoomEventFilter;
use bytes::Bytes;
use homeserver_core::TimelineOrder;
use room_engine::RoomVersion;
use room_engine::receipt::ReceivedPdu;
use rooms::reading::{Direction, MessagesRequest};
use rooms::{Backfill, Reception, ToldStates};
use serde_json::{Value, json};
use storage::{Gap, Standing};
use testing::on_both_databases;

use super::room::{Event, Room, join, message, state};
use super::server::Server;
use super::sync::Client;

/// A room of `@alice:one`, whose client it is, and `@bob:two`.
struct Shared {
    client: Client,
    room: Room,
    end: Event,
}

impl Shared {
    async fn new(server: &Server) -> Self {
        Self::of(Client::new(server, "alice").await, server).await
    }

    async fn of(client: Client, server: &Server) -> Self {
        let room = Room::create(server, RoomVersion::V11).await;
        let end = room.accept(&join("@bob:two"), &[&room.end().await]).await;
        Self { client, room, end }
    }

    /// Messages of `@bob:two` that follow each other.
    fn messages(&self, after: &Event, bodies: &[&str]) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        for body in bodies {
            let next = self.room.build(&message("@bob:two", body), &[events.last().unwrap_or(after)]);
            events.push(next);
        }
        events
    }

    /// The server takes in an event without those before it.
    async fn arrives(&self, event: &Event, before: &Event) {
        let told = ToldStates::before(before.after.values().map(|pdu| pdu.event_id().to_owned()).collect());
        let (timeline, keys) = (&self.room.server.timeline, &*self.room.server.keys);
        let room = timeline.identity_of(&self.room.id).await.unwrap();
        let event = ReceivedPdu::parse(room.version, Some(&room.room_id), &event.json()).unwrap();
        let received = timeline.receive_with_state(&room, event, keys, &told).await.unwrap();
        assert!(matches!(received, Reception::Stored(Standing::Accepted, None)), "{received:?}");
    }

    /// Fills a gap with events, of which the state before the first is told by that after `before`.
    async fn fill(&self, gap: &Gap, events: &[Event], before: Option<&Event>) -> usize {
        let jsons: Vec<Bytes> = events.iter().map(|event| event.json().into()).collect();
        let mut states = HashMap::new();
        if let Some(before) = before {
            let told = before.after.values().map(|pdu| pdu.event_id().to_owned()).collect();
            states.insert(events[0].id().to_owned(), told);
        }
        let backfill = Backfill { gap, events: &jsons, is_detached: false, states: &states };
        let server = &self.room.server;
        server.timeline.store_backfilled(&self.room.id, &backfill, &*server.keys).await.unwrap()
    }

    async fn last_gap(&self) -> Option<Gap> {
        self.room.server.database.last_gap(self.room.sn, TimelineOrder::END).await.unwrap()
    }

    /// A page of the client, read backwards: what was said, where the page ends, and the gap there.
    async fn page(
        &self,
        client: &Client,
        from: Option<&str>,
        limit: u64,
    ) -> (Vec<String>, Option<String>, Option<Gap>) {
        let request = MessagesRequest {
            from: from.map(|token| event_log::tokens::parse_place(token).unwrap()),
            to: None,
            direction: Direction::Backwards,
            limit: Some(limit),
            filter: RoomEventFilter::default(),
            crosses_gaps: false,
        };
        let page = client.history.messages(&client.requester, &self.room.id, &request).await.unwrap();
        let json: Value = serde_json::from_slice(&page.json).unwrap();
        let body = |event: &Value| match event["content"]["body"].as_str() {
            Some(body) => body.to_owned(),
            None => event["type"].as_str().unwrap().to_owned(),
        };
        let bodies = json["chunk"].as_array().unwrap().iter().map(body).collect();
        (bodies, json["end"].as_str().map(ToOwned::to_owned), page.gap)
    }
}

on_both_databases! {
    async fn a_page_ends_at_a_gap_and_goes_on_when_that_is_filled(db: TestDatabase) {
        let server = Server::new(&db).await;
        let shared = Shared::new(&server).await;
        let sent = shared.messages(&shared.end, &["1", "2", "3", "4", "5", "6"]);
        shared.arrives(&sent[5], &shared.end).await;
        let gap = shared.last_gap().await.unwrap();
        assert_eq!(gap.frontier, [shared.room.stored(&sent[5]).await.stored.sn]);
        let (bodies, end, found) = shared.page(&shared.client, None, 100).await;
        assert_eq!((bodies.as_slice(), found), (["6".to_owned()].as_slice(), Some(gap.clone())));
        let (bodies, _, found) = shared.page(&shared.client, end.as_deref(), 100).await;
        assert_eq!((bodies.len(), found), (0, Some(gap.clone())));

        assert_eq!(shared.fill(&gap, &sent[3..5], Some(&shared.end)).await, 2);
        assert_eq!(shared.fill(&gap, &sent[3..5], Some(&shared.end)).await, 0);
        let gap = shared.last_gap().await.unwrap();
        assert_eq!(gap.frontier, [shared.room.stored(&sent[3]).await.stored.sn]);
        let (bodies, ..) = shared.page(&shared.client, end.as_deref(), 100).await;
        assert_eq!(bodies, ["5", "4"]);

        assert_eq!(shared.fill(&gap, &sent[..3], None).await, 3);
        assert_eq!(shared.last_gap().await, None);
        let (bodies, _, found) = shared.page(&shared.client, None, 8).await;
        assert_eq!(bodies, ["6", "5", "4", "3", "2", "1", "m.room.member", "m.room.history_visibility"]);
        assert_eq!(found, None);
        let ids: Vec<String> = shared.room.timeline().await;
        let expected: Vec<String> = sent.iter().map(|event| event.id().to_string()).collect();
        assert!(ids.ends_with(&expected), "{ids:?}");
        // The event before the gap is no end of the room any more: what filled the gap follows it.
        shared.room.assert_ends(&[&sent[5]]).await;
    }

    async fn a_client_is_shown_what_comes_after_a_gap_as_limited(db: TestDatabase) {
        let server = Server::new(&db).await;
        let shared = Shared::new(&server).await;
        let before = shared.client.position();
        let sent = shared.messages(&shared.end, &["1", "2", "3", "4"]);
        shared.arrives(&sent[2], &shared.end).await;
        shared.room.accept(&message("@bob:two", "4"), &[&sent[2]]).await;
        for from in [Some(before), None] {
            let answer = shared.client.sync_from(from).await;
            let timeline = &answer["rooms"]["join"][shared.room.id.as_str()]["timeline"];
            let bodies: Vec<&str> =
                timeline["events"].as_array().unwrap().iter().filter_map(|it| it["content"]["body"].as_str()).collect();
            assert_eq!((bodies.as_slice(), &timeline["limited"]), (["3", "4"].as_slice(), &json!(true)), "{timeline}");
        }
        let gap = shared.last_gap().await.unwrap();
        let position = shared.client.position();
        assert_eq!(shared.fill(&gap, &sent[..2], None).await, 2);
        let answer = shared.client.sync_from(Some(position)).await;
        assert_eq!(answer["rooms"]["join"][shared.room.id.as_str()], Value::Null);
        let answer = shared.client.sync_from(None).await;
        let timeline = &answer["rooms"]["join"][shared.room.id.as_str()]["timeline"];
        assert_eq!(timeline["events"].as_array().unwrap().len(), 2);
        let (bodies, ..) = shared.page(&shared.client, timeline["prev_batch"].as_str(), 2).await;
        assert_eq!(bodies, ["2", "1"]);
    }

    async fn what_fills_a_gap_is_shown_to_who_could_see_it_then(db: TestDatabase) {
        let server = Server::new(&db).await;
        let mut client = Client::new(&server, "alice").await;
        for (word, is_shown) in [("joined", false), ("shared", true)] {
            let shared = Shared::of(client, &server).await;
            let visibility = state("@alice:one", "m.room.history_visibility", "", json!({ "history_visibility": word }));
            let end = shared.room.send(&visibility).await;
            let sent = shared.messages(&end, &["1", "2", "3"]);
            shared.arrives(&sent[2], &end).await;
            let carol = Client::new(&server, &format!("carol-{word}")).await;
            let carol_id = (carol.requester.user_sn, carol.requester.user_id.clone());
            shared.room.send_as(&carol_id, &join(carol_id.1.as_str())).await;
            let gap = shared.last_gap().await.unwrap();
            assert_eq!(shared.fill(&gap, &sent[..2], None).await, 2);
            let (alice_sees, ..) = shared.page(&shared.client, None, 4).await;
            assert_eq!(alice_sees, ["m.room.member", "3", "2", "1"], "{word}");
            let (carol_sees, ..) = shared.page(&carol, None, 4).await;
            assert_eq!(carol_sees.contains(&"1".to_owned()), is_shown, "{word}: {carol_sees:?}");
            client = shared.client;
        }
    }

    async fn events_that_nobody_asked_for_or_that_are_not_allowed_fill_no_gap(db: TestDatabase) {
        let server = Server::new(&db).await;
        let shared = Shared::new(&server).await;
        let sent = shared.messages(&shared.end, &["1", "2"]);
        shared.arrives(&sent[1], &shared.end).await;
        let gap = shared.last_gap().await.unwrap();
        // It leads nowhere near the gap.
        let beside = shared.room.build(&message("@bob:two", "beside"), &[&shared.end]);
        assert_eq!(shared.fill(&gap, &[beside], None).await, 0);
        let stranger = shared.room.build(&message("@mallory:three", "let me in"), &[&shared.end]);
        let after = shared.room.build(&message("@bob:two", "after"), &[&stranger]);
        shared.arrives(&after, &shared.end).await;
        let gap = shared.last_gap().await.unwrap();
        shared.fill(&gap, std::slice::from_ref(&stranger), None).await;
        assert_eq!(shared.room.stored(&stranger).await.standing, Standing::Rejected);
        let (bodies, ..) = shared.page(&shared.client, None, 2).await;
        assert_eq!(bodies, ["after", "2"]);
    }
}
