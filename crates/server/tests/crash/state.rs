//! The state of rooms after a restart: what was acknowledged, or what was tried after it, and the same wherever one looks.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testing::{Client, path_segment};

use crate::load::Sent;
use crate::people::{People, Room};

/// A level of power that changes with every change, for events that nobody sends.
const COUNTED: &str = "test.counted";

impl Room {
    /// The room's power levels after a change with this number.
    pub(crate) fn power_levels_with(&self, level: u64) -> Value {
        let mut content = self.power_levels.clone();
        content["events"][COUNTED] = json!(level);
        content
    }
}

/// Compares the state of every room with what is known of it, and notes what is found where either of two is right.
pub(crate) async fn check(client: &Client, people: &mut People, sent: &Sent) {
    check_rover(client, people, sent).await;
    for number in 0..people.rooms.len() {
        let owner = people.senders[number].token.clone();
        let get = |path: &str| {
            let room_id = path_segment(&people.rooms[number].id);
            let request = client.get(format!("/_matrix/client/v3/rooms/{room_id}/{path}")).token(&owner);
            async move { request.await.ok() }
        };
        let levels = get("state/m.room.power_levels").await;
        let found = levels["events"][COUNTED].as_u64().unwrap_or(0);
        let (acknowledged, tried) = sent.levels[number];
        let acknowledged = acknowledged.unwrap_or(people.rooms[number].level);
        assert!(
            found == acknowledged || Some(found) == tried,
            "{found} for {acknowledged} or {tried:?} in room {number}"
        );

        let mut expected: BTreeSet<_> = people.rooms[number].members.iter().cloned().collect();
        if number == 0 && people.rover_is_joined {
            expected.insert(people.rover.id.clone());
        }
        let joined = get("joined_members").await;
        let joined: BTreeSet<_> = joined["joined"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(joined, expected, "in room {number}");
        let members = get("members?membership=join").await;
        let members: BTreeSet<_> = members["chunk"].as_array().unwrap().iter().map(state_key).collect();
        assert_eq!(members, expected, "in room {number}");
        let summary = client.get("/_matrix/client/v3/sync").token(&owner).await.ok();
        let summary = &summary["rooms"]["join"][&people.rooms[number].id]["summary"];
        assert_eq!(
            summary["m.joined_member_count"].as_u64(),
            Some(expected.len() as u64),
            "in room {number}: {summary}"
        );

        let room = &mut people.rooms[number];
        room.level = found;
        if found > 0 {
            assert_eq!(levels, room.power_levels_with(found), "in room {number}");
        }
    }
}

async fn check_rover(client: &Client, people: &mut People, sent: &Sent) {
    let room_id = path_segment(&people.rooms[0].id);
    let member = path_segment(&people.rover.id);
    let path = format!("/_matrix/client/v3/rooms/{room_id}/state/m.room.member/{member}");
    let found = client.get(path).token(&people.senders[0].token).await;
    let is_joined = found.json["membership"] == "join";
    let (acknowledged, tried) = sent.rover_is_joined;
    let acknowledged = acknowledged.unwrap_or(people.rover_is_joined);
    assert!(is_joined == acknowledged || Some(is_joined) == tried, "{found} for {acknowledged} or {tried:?}");
    people.rover_is_joined = is_joined;
}

fn state_key(event: &Value) -> String {
    event["state_key"].as_str().unwrap().to_owned()
}
