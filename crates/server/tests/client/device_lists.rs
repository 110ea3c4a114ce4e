use serde_json::{Value, json};
use testing::{TestServer, User, on_both_databases, path_segment};

use crate::V3;
use crate::keys::{device_keys, upload};

async fn change_keys(user: &User, key: &str) {
    upload(user, json!({ "device_keys": device_keys(user, key) })).await.ok();
}

async fn leave(user: &User, room: &str) {
    user.post(format!("{V3}/rooms/{}/leave", path_segment(room))).json(&json!({})).await.ok();
}

async fn open_room(user: &User) -> String {
    user.create_room(&json!({ "preset": "public_chat" })).await
}

/// A client that goes on from answer to answer.
struct Reader<'a> {
    user: &'a User,
    since: String,
}

impl<'a> Reader<'a> {
    async fn of(user: &'a User) -> Self {
        let since = user.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        Self { user, since }
    }

    /// Who has changed and who has left since the last time; `/keys/changes` says the same.
    async fn news(&mut self) -> (Vec<String>, Vec<String>) {
        let answer = self.user.sync(Some(&self.since), 0).await;
        let to = answer["next_batch"].as_str().unwrap().to_owned();
        let path = format!("{V3}/keys/changes?from={}&to={}", path_segment(&self.since), path_segment(&to));
        let changes = self.user.get(path).await.ok();
        let lists = &answer["device_lists"];
        let news = (names(&lists["changed"]), names(&lists["left"]));
        assert_eq!((names(&changes["changed"]), names(&changes["left"])), news);
        self.since = to;
        news
    }
}

fn names(ids: &Value) -> Vec<String> {
    let mut ids: Vec<String> = ids.as_array().into_iter().flatten().map(|id| id.as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

const NOBODY: (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());

fn changed(users: &[&User]) -> (Vec<String>, Vec<String>) {
    (users.iter().map(|user| user.id.clone()).collect(), Vec::new())
}

fn left(users: &[&User]) -> (Vec<String>, Vec<String>) {
    (Vec::new(), users.iter().map(|user| user.id.clone()).collect())
}

on_both_databases! {
    async fn a_change_is_told_once_to_those_who_share_a_room_and_to_nobody_else(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, carol) =
            (server.register("alice").await, server.register("bob").await, server.register("carol").await);
        for _ in 0..2 {
            let room = open_room(&alice).await;
            bob.join(&room).await;
        }
        let (mut at_alice, mut at_bob, mut at_carol) =
            (Reader::of(&alice).await, Reader::of(&bob).await, Reader::of(&carol).await);
        change_keys(&bob, "one").await;
        change_keys(&carol, "one").await;
        assert_eq!(at_alice.news().await, changed(&[&bob]));
        assert_eq!(at_bob.news().await, changed(&[&bob]));
        assert_eq!(at_carol.news().await, changed(&[&carol]));
        // The same keys again, one-time keys, and another name in the room are no change.
        change_keys(&bob, "one").await;
        upload(&bob, json!({ "one_time_keys": { "curve25519:A": "x" } })).await.ok();
        bob.put(format!("{V3}/profile/{}/displayname", bob.id)).json(&json!({ "displayname": "Bob" })).await.ok();
        assert_eq!(at_alice.news().await, NOBODY);
        let waiting = alice.sync(Some(&at_alice.since), 30_000);
        let (woken, ()) = tokio::join!(waiting, change_keys(&bob, "two"));
        assert_eq!((names(&woken["device_lists"]["changed"]), Vec::new()), changed(&[&bob]));
        bob.post(format!("{V3}/logout")).await.ok();
        assert_eq!(at_alice.news().await, changed(&[&bob]));
        assert_eq!(at_alice.news().await, NOBODY);
    }

    async fn those_who_come_to_share_a_room_are_told_and_those_who_do_no_longer(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (first, second) = (open_room(&alice).await, open_room(&alice).await);
        let (mut at_alice, mut at_bob) = (Reader::of(&alice).await, Reader::of(&bob).await);
        bob.join(&first).await;
        assert_eq!(at_alice.news().await, changed(&[&bob]));
        // Bob's other devices have to know the room's other members, and each other.
        assert_eq!(at_bob.news().await, changed(&[&alice, &bob]));
        // They share a room already.
        bob.join(&second).await;
        assert_eq!((at_alice.news().await, at_bob.news().await), (NOBODY, NOBODY));
        leave(&bob, &first).await;
        assert_eq!((at_alice.news().await, at_bob.news().await), (NOBODY, NOBODY));
        leave(&bob, &second).await;
        assert_eq!((at_alice.news().await, at_bob.news().await), (left(&[&bob]), left(&[&alice])));
        change_keys(&bob, "unseen").await;
        assert_eq!(at_alice.news().await, NOBODY);
        bob.join(&first).await;
        assert_eq!(at_alice.news().await, changed(&[&bob]));
        // Away and back between two answers.
        leave(&bob, &first).await;
        change_keys(&bob, "another").await;
        bob.join(&first).await;
        assert_eq!(at_alice.news().await, changed(&[&bob]));
    }

    async fn those_who_were_away_while_the_server_restarted_learn_the_same(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, carol, dave) = (
            server.register("alice").await,
            server.register("bob").await,
            server.register("carol").await,
            server.register("dave").await,
        );
        let (room, other) = (open_room(&alice).await, open_room(&dave).await);
        for user in [&bob, &carol] {
            user.join(&room).await;
        }
        let since = Reader::of(&alice).await.since;
        change_keys(&bob, "new").await;
        leave(&carol, &room).await;
        alice.join(&other).await;
        bob.put(format!("{V3}/profile/{}/displayname", bob.id)).json(&json!({ "displayname": "Bob" })).await.ok();
        server.shutdown().await;

        let server = TestServer::start(&db).await;
        let alice = alice.at(&server.client());
        let mut at_alice = Reader { user: &alice, since };
        let news = at_alice.news().await;
        assert_eq!(news, (vec![alice.id.clone(), bob.id.clone(), dave.id.clone()], vec![carol.id.clone()]));
        assert_eq!(at_alice.news().await, NOBODY);
        alice.get(format!("{V3}/keys/changes?from=x&to=y")).await.error(400, "M_INVALID_PARAM");
        alice.get(format!("{V3}/keys/changes?from=x")).await.error(400, "M_MISSING_PARAM");
    }
}
