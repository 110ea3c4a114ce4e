//! Two users talk through the server with `matrix-sdk`, the library of Element X and Fractal.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod person;

use matrix_sdk::room::MessagesOptions;
use matrix_sdk::ruma::api::client::receipt::create_receipt::v3::ReceiptType;
use matrix_sdk::ruma::events::Mentions;
use matrix_sdk::ruma::events::receipt::ReceiptThread;
use matrix_sdk::ruma::events::room::member::MembershipState;
use matrix_sdk::ruma::uint;
use matrix_sdk::{Room, RoomMemberships, RoomState};
use testing::{TestServer, on_both_databases};

use person::{Happening, Person};

/// Enough messages for several pages.
const MESSAGES: usize = 25;
/// The library syncs at most once a second, so only some messages wait for the sync.
const WAITED_FOR: usize = 3;

on_both_databases! {
    async fn two_people_talk(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let url = server.client().base_url().to_owned();
        Person::register(&url, "alice").await;
        Person::register(&url, "bob").await;
        let mut alice = Person::log_in(&url, "alice").await;
        let mut bob = Person::log_in(&url, "bob").await;

        let room = alice.create_room("Tea", &bob.id()).await;
        bob.hears(&Happening::Invited(room.room_id().to_owned())).await;
        let invited = bob.room(room.room_id());
        assert_eq!(invited.state(), RoomState::Invited);
        assert_eq!(invited.display_name().await.unwrap().to_string(), "Tea");
        invited.join().await.unwrap();
        alice.hears(&Happening::Member(bob.id(), MembershipState::Join)).await;
        bob.hears(&Happening::Member(bob.id(), MembershipState::Join)).await;
        let joined = bob.room(room.room_id());
        assert_eq!(joined.state(), RoomState::Joined);

        let said = talk(&mut alice, &mut bob, &room, &joined).await;
        assert_eq!(page_back(&room).await, said);
        assert_eq!(page_back(&joined).await, said);
        assert_eq!(members(&room).await, ["alice", "bob"]);
        assert_eq!(members(&joined).await, ["alice", "bob"]);

        joined.leave().await.unwrap();
        alice.hears(&Happening::Member(bob.id(), MembershipState::Leave)).await;
        assert_eq!(members(&room).await, ["alice"]);
        room.send(person::text("Bye?")).await.unwrap();
        alice.hears(&Happening::Message(alice.id(), "Bye?".to_owned())).await;
        assert_eq!(bob.room(room.room_id()).state(), RoomState::Left);
        assert_eq!(page_back(&bob.room(room.room_id())).await, said, "a former member sees the history before leaving");

        alice.log_out().await;
        bob.log_out().await;
        server.shutdown().await;
    }
}

on_both_databases! {
    async fn what_is_unread_is_counted_and_read_by_receipts(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let url = server.client().base_url().to_owned();
        Person::register(&url, "alice").await;
        Person::register(&url, "bob").await;
        let alice = Person::log_in(&url, "alice").await;
        let mut bob = Person::log_in(&url, "bob").await;
        let room = alice.create_room("Tea", &bob.id()).await;
        bob.hears(&Happening::Invited(room.room_id().to_owned())).await;
        let joined = bob.room(room.room_id());
        joined.join().await.unwrap();
        bob.hears(&Happening::Member(bob.id(), MembershipState::Join)).await;

        room.send(person::text("One?")).await.unwrap();
        let mention = person::text("Two, Bob?").add_mentions(Mentions::with_user_ids([bob.id()]));
        let last = room.send(mention).await.unwrap().response.event_id;
        person::comes_to(|| counts(&joined) == (2, 1)).await;
        joined.send_single_receipt(ReceiptType::Read, ReceiptThread::Unthreaded, last).await.unwrap();
        person::comes_to(|| counts(&joined) == (0, 0)).await;

        alice.log_out().await;
        bob.log_out().await;
        server.shutdown().await;
    }
}

/// The unread notifications and highlights of a room.
fn counts(room: &Room) -> (u64, u64) {
    let counts = room.unread_notification_counts();
    (counts.notification_count, counts.highlight_count)
}

/// Both send messages in turn: at first each waits until both have received the last one, then they do not wait. Both receive
/// all messages in the same order, with their own.
async fn talk(alice: &mut Person, bob: &mut Person, of_alice: &Room, of_bob: &Room) -> Vec<String> {
    let mut unheard = Vec::new();
    let mut said = Vec::new();
    for number in 0..MESSAGES {
        let (sender, room) = if number % 3 == 0 { (bob.id(), of_bob) } else { (alice.id(), of_alice) };
        let body = format!("message {number}");
        room.send(person::text(&body)).await.unwrap();
        said.push(body.clone());
        unheard.push(Happening::Message(sender, body));
        if number < WAITED_FOR || number == MESSAGES - 1 {
            for happening in unheard.drain(..) {
                alice.hears(&happening).await;
                bob.hears(&happening).await;
            }
        }
    }
    said
}

/// The texts of all readable messages, in the order of sending.
async fn page_back(room: &Room) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut options = MessagesOptions::backward();
    let mut pages = 0;
    loop {
        options.limit = uint!(7);
        let page = room.messages(options).await.unwrap();
        pages += 1;
        for event in &page.chunk {
            if event.raw().get_field::<String>("type").unwrap().as_deref() == Some("m.room.message") {
                let content: serde_json::Value = event.raw().get_field("content").unwrap().unwrap();
                bodies.push(content["body"].as_str().unwrap().to_owned());
            }
        }
        let Some(end) = page.end else { break };
        options = MessagesOptions::backward().from(end.as_str());
    }
    assert!(pages > MESSAGES / 7, "{pages} pages");
    bodies.reverse();
    bodies
}

async fn members(room: &Room) -> Vec<String> {
    let members = room.members(RoomMemberships::JOIN).await.unwrap();
    let mut names: Vec<_> = members.iter().map(|member| member.name().to_owned()).collect();
    names.sort_unstable();
    names
}
