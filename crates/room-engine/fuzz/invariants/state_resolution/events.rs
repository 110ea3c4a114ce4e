//! The events that may come up in a room.

use homeserver_core::EventSn;
use room_engine::{CanonicalObject, Numbers, Pdu, PowerLevelsContent, RoomVersion, resolution::StatePlace};
use ruma::RoomId;
use serde_json::{Value, json};

use super::room::{Room, State, event_id};
use crate::choices::Choices;

pub(super) const USERS: [&str; 6] =
    ["@creator:one", "@alice:one", "@bob:two", "@carol:two", "@dave:three", "@erin:three"];

/// An event without what connects it to others.
pub(super) struct Draft {
    pub(super) sender: &'static str,
    pub(super) event_type: &'static str,
    pub(super) state_key: Option<String>,
    content: Value,
}

impl Draft {
    pub(super) fn state(sender: &'static str, event_type: &'static str, key: &str, content: Value) -> Self {
        Self { sender, event_type, state_key: Some(key.to_owned()), content }
    }

    pub(super) fn create(room: &Room, choices: &mut Choices<'_>) -> Self {
        let mut content = json!({ "creator": USERS[0], "room_version": room.version.as_str() });
        match room.detail(220, choices) {
            200..=209 => content["m.federate"] = json!(false),
            210..=219 => content["additional_creators"] = json!([USERS[1]]),
            220..=224 => content["additional_creators"] = json!("nobody"),
            225..=229 => content["creator"] = json!("nobody"),
            230..=234 => content["room_version"] = json!("none"),
            235..=239 => content["m.federate"] = json!("no"),
            240..=244 => content = json!({}),
            _ => {}
        }
        Self::state(USERS[0], "m.room.create", "", content)
    }

    pub(super) fn join(sender: &'static str, target: &str) -> Self {
        Self::state(sender, "m.room.member", target, json!({ "membership": "join" }))
    }

    pub(super) fn join_rules(sender: &'static str, rule: &str) -> Self {
        Self::state(sender, "m.room.join_rules", "", json!({ "join_rule": rule }))
    }

    /// Something that may be allowed in the state.
    pub(super) fn decode(room: &Room, state: &State, kind: usize, choices: &mut Choices<'_>) -> Self {
        let who = choices.byte();
        let (sender, target) = (USERS[usize::from(who % 6)], USERS[usize::from(who / 6 % 6)]);
        let detail = room.detail(200, choices);
        match kind {
            0..=5 => Self::state(sender, "m.room.member", sender, of_join(detail)),
            6 | 7 => Self::membership(sender, sender, "leave"),
            8..=13 => Self::membership(sender, target, "leave"),
            14..=19 => Self::membership(sender, target, "ban"),
            20..=22 => Self::state(sender, "m.room.member", target, of_invite(target, detail)),
            23 | 24 => Self::membership(sender, sender, "knock"),
            25 => Self::membership(sender, target, "lurk"),
            26..=36 => Self::state(sender, "m.room.power_levels", "", power_levels(room, state, detail, choices)),
            37..=41 => Self::state(sender, "m.room.join_rules", "", of_join_rules(detail)),
            42..=45 => Self::state(sender, "m.room.topic", "", json!({ "topic": detail.to_string() })),
            46 => Self::state(sender, "m.room.name", "", json!({ "name": detail.to_string() })),
            47 => Self::state(sender, "org.example.own", target, json!({})),
            48 => Self::state(sender, "m.room.third_party_invite", "token", json!({ "public_key": "k" })),
            49 => Self::state(sender, "m.room.aliases", choices.pick(&["one", "two"]), json!({})),
            _ if room.is_tame => Self::join(sender, sender),
            50 => Self { sender, event_type: "m.room.message", state_key: None, content: json!({}) },
            51 => Self::state(sender, "m.room.member", "nobody", of_join(detail)),
            52 => Self::state(sender, "m.room.power_levels", "other", json!({})),
            // Another create event stays out of the way of the first, which has the key that counts.
            53 => Self { sender, state_key: Some("other".to_owned()), ..Self::create(room, choices) },
            _ => Self::state(sender, "m.room.member", target, odd_member(detail)),
        }
    }

    fn membership(sender: &'static str, target: &str, membership: &str) -> Self {
        Self::state(sender, "m.room.member", target, json!({ "membership": membership }))
    }

    pub(super) fn content(&self) -> CanonicalObject {
        CanonicalObject::parse(self.content.to_string().as_bytes(), Numbers::Lenient).expect("contents are canonical")
    }

    /// The event with `[auth_events, prev_events]`.
    pub(super) fn pdu(&self, version: RoomVersion, id: &str, lists: [&[String]; 2], time: i64, depth: i64) -> Pdu {
        let mut client = json!({
            "content": self.content, "event_id": id, "origin_server_ts": time, "sender": self.sender, "type": self.event_type,
        });
        if let Some(key) = &self.state_key {
            client["state_key"] = json!(key);
        }
        let [auth_events, prev_events] = lists.map(|ids| references(version, ids));
        let federation = json!({ "auth_events": auth_events, "depth": depth, "prev_events": prev_events });
        let room_id = match version.room_id_is_create_hash() {
            true => event_id(version, 0).replace('$', "!"),
            false => "!room:one".to_owned(),
        };
        let room_id = RoomId::parse(room_id).expect("the room has an ID");
        Pdu::from_stored(version, room_id, client.to_string().into(), federation.to_string().into())
            .expect("what is missing in a content is missed later")
    }
}

fn references(version: RoomVersion, ids: &[String]) -> Value {
    if version < RoomVersion::V3 { ids.iter().map(|id| json!([id, { "sha256": "h" }])).collect() } else { json!(ids) }
}

fn of_join(detail: u8) -> Value {
    match detail {
        0..=99 => json!({ "membership": "join" }),
        100..=179 => json!({ "displayname": detail.to_string(), "membership": "join" }),
        180..=239 => {
            let user = USERS[usize::from(detail) % USERS.len()];
            json!({ "join_authorised_via_users_server": user, "membership": "join" })
        }
        _ => json!({ "join_authorised_via_users_server": "nobody", "membership": "join" }),
    }
}

fn of_invite(target: &str, detail: u8) -> Value {
    match detail {
        0..=199 => json!({ "membership": "invite" }),
        200..=239 => {
            let signed = json!({ "mxid": target, "signatures": {}, "token": "token" });
            json!({ "membership": "invite", "third_party_invite": { "signed": signed } })
        }
        _ => json!({ "membership": "invite", "third_party_invite": {} }),
    }
}

fn of_join_rules(detail: u8) -> Value {
    const RULES: [&str; 7] = ["public", "public", "invite", "knock", "restricted", "knock_restricted", "unheard of"];
    match detail {
        0..=249 => json!({ "join_rule": RULES[usize::from(detail) % RULES.len()] }),
        250..=252 => json!({ "join_rule": 1 }),
        _ => json!({}),
    }
}

fn odd_member(detail: u8) -> Value {
    match detail % 4 {
        0 => json!({}),
        1 => json!({ "membership": 1 }),
        2 => json!({ "join_authorised_via_users_server": null, "membership": "join" }),
        _ => json!({ "membership": "invite", "third_party_invite": null }),
    }
}

/// A content of `m.room.power_levels`: what the state has with a change, or something odd.
pub(super) fn power_levels(room: &Room, state: &State, detail: u8, choices: &mut Choices<'_>) -> Value {
    const LEVELS: [i64; 8] = [50, 100, 0, 25, 75, 49, -1, 101];
    match detail {
        240..=241 => return json!({ "users": [] }),
        242..=243 => return json!({ "users": { "nobody": 1 } }),
        244..=245 => return json!({ "ban": "many" }),
        246..=247 => return json!({ "users": { USERS[1]: "50" } }),
        248..=249 => return json!({ "events": { "m.room.topic": {} } }),
        250..=255 => return json!({}),
        _ => {}
    }
    let current: Option<&EventSn> = state.get(&StatePlace::new("m.room.power_levels", ""));
    let current = current.and_then(|sn| room.events[sn].pdu.power_levels().ok());
    let mut levels = current.cloned().unwrap_or_else(|| first_levels(room.version));
    let level = choices.pick(&LEVELS);
    match detail {
        0..=9 => {}
        10..=24 => levels.ban = Some(level),
        25..=39 => levels.kick = Some(level),
        40..=54 => levels.invite = Some(level),
        55..=69 => levels.state_default = Some(level),
        70..=84 => levels.users_default = Some(level),
        85..=99 => drop(levels.events.insert("m.room.topic".to_owned(), level)),
        _ => {
            let user = USERS[usize::from(detail) % USERS.len()];
            let user = ruma::UserId::parse(user).expect("users have user IDs");
            if detail < 120 {
                levels.users.remove(&user)
            } else {
                levels.users.insert(user, level)
            };
        }
    }
    json_of(&levels)
}

fn first_levels(version: RoomVersion) -> PowerLevelsContent {
    let mut levels = PowerLevelsContent::default();
    let first = usize::from(version.rules().authorization.explicitly_privilege_room_creators);
    let users = [(USERS[0], 100), (USERS[1], 50), (USERS[2], 50)].into_iter().skip(first);
    levels.users = users.map(|(user, level)| (ruma::UserId::parse(user).expect("a user ID"), level)).collect();
    levels
}

fn json_of(levels: &PowerLevelsContent) -> Value {
    let mut content = json!({ "events": levels.events, "users": levels.users });
    let properties = [
        ("ban", levels.ban),
        ("invite", levels.invite),
        ("kick", levels.kick),
        ("state_default", levels.state_default),
        ("users_default", levels.users_default),
    ];
    for (property, level) in properties {
        if let Some(level) = level {
            content[property] = json!(level);
        }
    }
    content
}
