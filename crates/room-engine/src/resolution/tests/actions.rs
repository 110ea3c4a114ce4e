//! What people do in generated rooms.

use std::fmt::Write as _;

use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::room::{Draft, State, TestRoom, USERS};
use crate::{RoomVersion, resolution::StatePlace};

/// The content of a power levels event.
#[derive(Debug, Clone)]
pub(super) struct Levels {
    users: [Option<i64>; USERS.len()],
    /// The levels for `ban`, `invite`, `kick` and `state_default`.
    properties: [i64; 4],
    users_default: i64,
    topic: i64,
}

impl Levels {
    pub(super) fn first(version: RoomVersion, rng: &mut StdRng) -> Self {
        let mut users = [None; USERS.len()];
        if !version.rules().authorization.explicitly_privilege_room_creators {
            users[0] = Some(100);
        }
        users[1] = Some(*[50, 100].choose(rng).unwrap());
        users[2] = [None, Some(50)].choose(rng).copied().flatten();
        Self {
            users,
            properties: [50, *[0, 50].choose(rng).unwrap(), 50, *[0, 50].choose(rng).unwrap()],
            users_default: 0,
            topic: *[0, 50].choose(rng).unwrap(),
        }
    }

    fn changed(&self, rng: &mut StdRng, version: RoomVersion) -> Self {
        let mut levels = self.clone();
        let level = *[0, 25, 50, 50, 75, 100].choose(rng).unwrap();
        match rng.random_range(0..8) {
            0 => levels.properties[rng.random_range(0..4)] = level,
            1 => levels.topic = level,
            2 => levels.users_default = *[0, 0, 50].choose(rng).unwrap(),
            _ => {
                let first = usize::from(version.rules().authorization.explicitly_privilege_room_creators);
                levels.users[rng.random_range(first..USERS.len())] = Some(level).filter(|_| rng.random_bool(0.9));
            }
        }
        levels
    }

    fn json(&self) -> String {
        let mut users = String::new();
        for (user, level) in USERS.iter().zip(self.users).filter_map(|(user, level)| level.map(|level| (user, level))) {
            let comma = if users.is_empty() { "" } else { "," };
            write!(users, r#"{comma}"{user}":{level}"#).unwrap();
        }
        let Self { properties: [ban, invite, kick, state_default], users_default, topic, .. } = self;
        format!(
            r#"{{"ban":{ban},"events":{{"m.room.topic":{topic}}},"invite":{invite},"kick":{kick},"state_default":{state_default},"users":{{{users}}},"users_default":{users_default}}}"#
        )
    }
}

pub(super) struct Action;

impl Action {
    pub(super) fn levels(sender: &'static str, levels: Levels) -> Draft {
        let content = levels.json();
        Draft { sender, event_type: "m.room.power_levels", state_key: String::new(), content, levels: Some(levels) }
    }

    pub(super) fn join(sender: &'static str, target: &'static str, number: u32) -> Draft {
        let name = if number > 0 { format!(r#""displayname":"{number}","#) } else { String::new() };
        Self::state(sender, "m.room.member", target, format!(r#"{{{name}"membership":"join"}}"#))
    }

    fn state(sender: &'static str, event_type: &'static str, state_key: &str, content: String) -> Draft {
        Draft { sender, event_type, state_key: state_key.to_owned(), content, levels: None }
    }

    fn membership(sender: &'static str, target: &'static str, membership: &str) -> Draft {
        Self::state(sender, "m.room.member", target, format!(r#"{{"membership":"{membership}"}}"#))
    }

    /// Something that may be allowed in the state.
    pub(super) fn random(room: &mut TestRoom, state: &State) -> Draft {
        let version = room.version;
        let current =
            state.get(&StatePlace::new("m.room.power_levels", "")).and_then(|sn| room.levels.get(sn)).cloned();
        let rng = room.rng();
        // Those at the front of the list have more power and so do more.
        let powerful = USERS[rng.random_range(0..USERS.len()).min(rng.random_range(0..USERS.len()))];
        let anyone = USERS.choose(rng).unwrap();
        let target = USERS.choose(rng).unwrap();
        let number = rng.random_range(1..1000);
        match rng.random_range(0..40) {
            0..=7 => Self::join(anyone, anyone, number),
            8..=9 => Self::membership(anyone, anyone, "leave"),
            10..=13 => Self::membership(powerful, target, "leave"),
            14..=17 => Self::membership(powerful, target, "ban"),
            18..=20 => Self::membership(powerful, target, "invite"),
            21 => Self::membership(anyone, anyone, "knock"),
            22 => Self::membership(anyone, anyone, "lurk"),
            23..=28 => match current {
                Some(current) => Self::levels(powerful, current.changed(rng, version)),
                None => Self::levels(powerful, Levels::first(version, rng)),
            },
            29..=31 => {
                let rule =
                    ["public", "public", "invite", "knock", "restricted", "knock_restricted"].choose(rng).unwrap();
                Self::state(powerful, "m.room.join_rules", "", format!(r#"{{"join_rule":"{rule}"}}"#))
            }
            32..=34 => Self::state(anyone, "m.room.topic", "", format!(r#"{{"topic":"{number}"}}"#)),
            35 => Self::state(powerful, "m.room.name", "", format!(r#"{{"name":"{number}"}}"#)),
            36 => Self::state(anyone, "org.example.own", anyone, format!(r#"{{"number":{number}}}"#)),
            37 => Self::state(powerful, "m.room.third_party_invite", "token", r#"{"public_key":"k"}"#.to_owned()),
            _ => Self::state(
                anyone,
                "m.room.member",
                anyone,
                format!(r#"{{"join_authorised_via_users_server":"{powerful}","membership":"join"}}"#),
            ),
        }
    }
}
