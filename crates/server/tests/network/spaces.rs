//! Spaces whose rooms are on several homeservers, and summaries of rooms of others.

use serde_json::{Value, json};
use testing::{Answer, User, on_both_databases, path_segment};

use crate::world::{Homeserver, Network, join_via, room_path};

async fn space(user: &User, name: &str) -> String {
    let creation = json!({ "type": "m.space" });
    user.create_room(&json!({ "preset": "public_chat", "name": name, "creation_content": creation })).await
}

async fn add(user: &User, space: &str, child: &str, at: &Homeserver) {
    let path = room_path(space, &format!("state/m.space.child/{}", path_segment(child)));
    user.put(path).json(&json!({ "via": [at.name] })).await.ok();
}

async fn hierarchy(user: &User, space: &str, query: &str) -> Answer {
    user.get(format!("/_matrix/client/v1/rooms/{}/hierarchy?{query}", path_segment(space))).await
}

async fn summary(user: &User, room: &str, query: &str) -> Answer {
    user.get(format!("/_matrix/client/v1/room_summary/{}?{query}", path_segment(room))).await
}

fn names(page: &Value) -> Vec<&str> {
    page["rooms"].as_array().unwrap().iter().map(|room| room["name"].as_str().unwrap_or("-")).collect()
}

on_both_databases! {
    async fn a_space_is_shown_with_the_rooms_of_other_homeservers(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let root = space(&alice, "root").await;
        let inner = space(&bob, "inner").await;
        let public = bob.create_room(&json!({ "preset": "public_chat", "name": "public" })).await;
        let secret = bob.create_room(&json!({ "preset": "private_chat", "name": "secret" })).await;
        let allow = json!([{ "type": "m.room_membership", "room_id": root }]);
        let rules = json!({ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "restricted", "allow": allow } });
        let for_members = json!({ "preset": "private_chat", "name": "members", "initial_state": [rules] });
        let members = bob.create_room(&for_members).await;
        add(&alice, &root, &inner, &network[1]).await;
        add(&alice, &root, &members, &network[1]).await;
        add(&bob, &inner, &public, &network[1]).await;
        add(&bob, &inner, &secret, &network[1]).await;
        // A cycle ends.
        add(&bob, &inner, &root, &network[0]).await;

        let page = hierarchy(&alice, &root, "").await.ok();
        // The second homeserver does not know of a member of the first space.
        assert_eq!(names(&page), ["root", "inner", "public"]);
        assert_eq!(page["rooms"][1]["room_type"], "m.space");
        assert_eq!(page["rooms"][1]["children_state"].as_array().unwrap().len(), 3);
        assert_eq!(page["rooms"][2]["children_state"], json!([]));
        assert_eq!(names(&hierarchy(&alice, &root, "max_depth=1").await.ok()), ["root", "inner"]);
        assert!(page["next_batch"].is_null());

        // Bob is in the space by now, so his homeserver tells of what its members may join, and it sees all by itself.
        join_via(&bob, &root, &[&network[0]]).await.ok();
        assert_eq!(names(&hierarchy(&bob, &root, "").await.ok()), ["root", "inner", "public", "secret", "members"]);
        let first = hierarchy(&bob, &root, "limit=2").await.ok();
        assert_eq!(names(&first), ["root", "inner"]);
        let next = format!("limit=2&from={}", first["next_batch"].as_str().unwrap());
        let second = hierarchy(&bob, &root, &next).await.ok();
        assert_eq!(names(&second), ["public", "secret"]);
        let last = hierarchy(&bob, &root, &format!("from={}", second["next_batch"].as_str().unwrap())).await.ok();
        assert_eq!(names(&last), ["members"]);
        hierarchy(&bob, &root, &format!("{next}&max_depth=1")).await.error(400, "M_INVALID_PARAM");
        let outsider = network[0].register("outsider").await;
        hierarchy(&outsider, &secret, "").await.error(403, "M_FORBIDDEN");
        network.shutdown().await;
    }

    async fn rooms_of_other_homeservers_are_summarised(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let request = json!({ "preset": "public_chat", "name": "public", "topic": "All", "room_alias_name": "public" });
        let public = bob.create_room(&request).await;
        let secret = bob.create_room(&json!({ "preset": "private_chat", "room_version": "11" })).await;
        let via = format!("via={}", network[1].name);
        let expected = json!({
            "room_id": public, "name": "public", "topic": "All", "canonical_alias": "#public:hs2.test", "join_rule": "public",
            "num_joined_members": 1, "world_readable": false, "guest_can_join": false, "room_version": "12", "membership": "leave",
        });
        assert_eq!(summary(&alice, &public, &via).await.ok(), expected);
        assert_eq!(summary(&alice, "#public:hs2.test", "").await.ok(), expected);
        let draft = format!("/_matrix/client/unstable/im.nheko.summary/rooms/{}/summary?{via}", path_segment(&public));
        assert_eq!(alice.get(draft).await.ok(), expected);
        let anonymous = network[0].running().client();
        let path = format!("/_matrix/client/v1/room_summary/{}?{via}", path_segment(&public));
        let mut without = expected.clone();
        without.as_object_mut().unwrap().remove("membership");
        assert_eq!(anonymous.get(&path).await.ok(), without);

        summary(&alice, &secret, &via).await.error(404, "M_NOT_FOUND");
        summary(&alice, "!none:hs2.test", "").await.error(404, "M_NOT_FOUND");
        summary(&alice, "#none:hs2.test", "").await.error(404, "M_NOT_FOUND");
        // Who is invited may know.
        bob.post(room_path(&secret, "invite")).json(&json!({ "user_id": alice.id })).await.ok();
        let carol = network[0].register("carol").await;
        assert_eq!(summary(&alice, &secret, &via).await.ok()["membership"], "invite");
        summary(&carol, &secret, &via).await.error(404, "M_NOT_FOUND");
        network.shutdown().await;
    }
}
