//! The rules give the same verdict as `ruma-state-res` on generated rooms and events.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ruma::{
    EventId,
    events::StateEventType,
    state_res::{
        auth_types_for_event as ruma_auth_types, check_state_dependent_auth_rules, check_state_independent_auth_rules,
    },
};
use serde_json::{Value, json};

use super::{
    foreign::Foreign,
    room::{ALICE, CREATOR, TestRoom, USERS},
    third_party_invites,
};
use crate::{
    Pdu, RoomVersion,
    auth::{AuthEvent, StateLookup, auth_types_for_event, check, check_auth_events},
};

fn any_user() -> impl Strategy<Value = &'static str> {
    prop::sample::select(USERS.to_vec())
}

fn any_membership() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["join", "join", "invite", "leave", "ban", "knock"])
}

fn any_level(strict: bool) -> BoxedStrategy<Value> {
    let number = prop::sample::select(vec![-1_i64, 0, 0, 10, 49, 50, 50, 51, 99, 100, 100, 101]);
    if strict {
        return number.prop_map(Value::from).boxed();
    }
    prop_oneof![
        4 => number.clone().prop_map(Value::from),
        1 => number.prop_map(|level| json!(format!(" {}{level:03} ", if level >= 0 { "+" } else { "" }))),
    ]
    .boxed()
}

fn level_map(keys: Vec<&'static str>, strict: bool) -> impl Strategy<Value = Value> {
    prop::collection::btree_map(prop::sample::select(keys), any_level(strict), 0..4)
        .prop_map(|map| map.into_iter().map(|(key, level)| (key.to_owned(), level)).collect())
}

fn any_power_levels(strict: bool) -> impl Strategy<Value = Value> {
    let properties = ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"];
    let types = vec!["m.room.message", "m.room.name", "m.room.power_levels", "m.room.redaction", "m.room.join_rules"];
    let properties = level_map(properties.to_vec(), strict);
    let maps = (level_map(types, strict), level_map(vec!["room", "other"], strict), level_map(USERS.to_vec(), strict));
    (properties, maps, any::<[bool; 3]>()).prop_map(|(mut content, (events, notifications, users), with)| {
        for (key, value, with) in
            [("events", events, with[0]), ("notifications", notifications, with[1]), ("users", users, with[2])]
        {
            if with {
                content[key] = value;
            }
        }
        content
    })
}

/// Power levels that may be malformed, and changes of the given ones.
fn any_new_power_levels(current: Option<Value>, strict: bool) -> BoxedStrategy<Value> {
    let fresh = any_power_levels(strict).boxed();
    let broken = (
        any_power_levels(strict),
        prop::sample::select(vec![
            ("ban", json!("many")),
            ("users", json!([])),
            ("users", json!({ "alice": 1 })),
            ("events", json!({ "a": {} })),
            ("users", json!({ "@alice:one": null })),
            ("kick", json!("50")),
            ("events", json!({ "a": "50" })),
            ("users_default", json!([1])),
            ("users", json!({ "@alice:one": "50" })),
        ]),
    )
        .prop_map(|(mut content, (key, value))| {
            content[key] = value;
            content
        })
        .boxed();
    let Some(current) = current else { return prop_oneof![3 => fresh, 1 => broken].boxed() };
    let changed = (any_level(strict), any_user(), 0_u8..7)
        .prop_map(move |(level, user, place)| {
            let mut content = current.clone();
            match place {
                0 => content["users"][user] = level,
                1 => content["events"]["m.room.name"] = level,
                2 => content["notifications"]["room"] = level,
                3 => content["ban"] = level,
                4 => content["users_default"] = level,
                5 => content["users"] = json!({}),
                _ => {}
            }
            content
        })
        .boxed();
    prop_oneof![2 => fresh, 1 => broken, 4 => changed].boxed()
}

#[derive(Debug, Clone)]
struct Case {
    version: RoomVersion,
    create: Value,
    members: Vec<(&'static str, &'static str)>,
    power_levels: Option<Value>,
    join_rule: &'static str,
    sender: &'static str,
    event_type: &'static str,
    state_key: Option<String>,
    content: Value,
    follows_create: bool,
}

fn any_event(current: Option<Value>, strict: bool) -> BoxedStrategy<(&'static str, Option<String>, Value)> {
    let member = (any_user(), any_membership(), prop::option::weighted(0.3, any_user())).prop_map(
        |(target, membership, authorising)| {
            let mut content = json!({ "membership": membership });
            if let Some(user) = authorising {
                content["join_authorised_via_users_server"] = json!(user);
            }
            ("m.room.member", Some(target.to_owned()), content)
        },
    );
    let odd_member = prop::sample::select(vec![
        ("m.room.member", None, json!({ "membership": "join" })),
        ("m.room.member", Some("nobody".to_owned()), json!({ "membership": "join" })),
        ("m.room.member", Some("@alice:one".to_owned()), json!({})),
        ("m.room.member", Some("@alice:one".to_owned()), json!({ "membership": "lurk" })),
        ("m.room.member", Some("@alice:one".to_owned()), json!({ "membership": 1 })),
    ]);
    let levels =
        any_new_power_levels(current, strict).prop_map(|content| ("m.room.power_levels", Some(String::new()), content));
    let message = Just(("m.room.message", None, json!({})));
    let create = prop::sample::select(vec![
        json!({ "creator": CREATOR }),
        json!({ "creator": CREATOR, "room_version": "11" }),
        json!({}),
        json!({ "creator": CREATOR, "additional_creators": [ALICE] }),
        json!({ "creator": CREATOR, "additional_creators": ALICE }),
        json!({ "creator": CREATOR, "additional_creators": [ALICE, "alice"] }),
        json!({ "creator": CREATOR, "additional_creators": [1] }),
    ])
    .prop_map(|content| ("m.room.create", Some(String::new()), content));
    let third_party_invite =
        (any_user(), any_user(), prop::bool::weighted(0.8), prop::sample::select(vec!["token", "token", "other"]))
            .prop_map(|(target, other, is_for_target, token)| {
                let mut content = third_party_invites::invite(if is_for_target { target } else { other }, token);
                if !is_for_target {
                    content["third_party_invite"]["signed"]["mxid"] = json!(target);
                }
                ("m.room.member", Some(target.to_owned()), content)
            });
    let redaction =
        prop::sample::select(vec![json!({ "redacts": "$x:one" }), json!({ "redacts": "$x:two" }), json!({})])
            .prop_map(|content| ("m.room.redaction", None, content));
    let types = vec![
        "m.room.message",
        "m.room.name",
        "m.room.third_party_invite",
        "m.room.aliases",
        "m.room.join_rules",
        "org.example.any",
    ];
    let keys = vec![None, Some(""), Some("token"), Some("@alice:one"), Some("@bob:two"), Some("one")];
    let other = (prop::sample::select(types), prop::sample::select(keys))
        .prop_map(|(event_type, key)| (event_type, key.map(ToOwned::to_owned), json!({})));
    prop_oneof![
        8 => member,
        1 => odd_member,
        6 => levels,
        4 => message,
        5 => other,
        2 => create,
        2 => third_party_invite,
        2 => redaction,
    ]
    .boxed()
}

fn any_case() -> impl Strategy<Value = Case> {
    let create = (prop::option::weighted(0.2, any::<bool>()), prop::collection::vec(any_user(), 0..2))
        .prop_map(|(federate, additional)| {
            let mut content = json!({ "additional_creators": additional });
            if let Some(federate) = federate {
                content["m.federate"] = json!(federate);
            }
            content
        })
        .boxed();
    let members = prop::collection::vec((any_user(), any_membership()), 0..6).boxed();
    let rules = vec!["public", "invite", "knock", "restricted", "knock_restricted", "private"];
    let version = prop::sample::select(RoomVersion::ALL.to_vec());
    version
        .prop_flat_map(move |version| {
            let strict = version >= RoomVersion::V10;
            (Just(version), prop::option::weighted(0.85, any_power_levels(strict)))
        })
        .prop_flat_map(move |(version, power_levels)| {
            let strict = version >= RoomVersion::V10;
            let room = (create.clone(), members.clone(), prop::sample::select(rules.clone()));
            let event =
                (any_user(), any::<[bool; 2]>(), any_event(power_levels.clone(), strict), prop::bool::weighted(0.1));
            (Just((version, power_levels)), room, event)
        })
        .prop_map(
            |(
                (version, power_levels),
                (create, mut members, join_rule),
                (sender, [by_target, is_joined], event, follows_create),
            )| {
                let (event_type, state_key, content) = event;
                // Most people change their own membership.
                let target = USERS.into_iter().find(|user| by_target && state_key.as_deref() == Some(user));
                let sender = target.unwrap_or(sender);
                if is_joined {
                    members.push((sender, "join"));
                }
                Case {
                    version,
                    create,
                    members,
                    power_levels,
                    join_rule,
                    sender,
                    event_type,
                    state_key,
                    content,
                    follows_create,
                }
            },
        )
}

impl Case {
    fn room(&self) -> TestRoom {
        let mut room = TestRoom::new(self.version, self.create.clone());
        for (user, membership) in &self.members {
            room.put(CREATOR, "m.room.member", user, json!({ "membership": membership }));
        }
        if let Some(power_levels) = &self.power_levels {
            room.put(CREATOR, "m.room.power_levels", "", power_levels.clone());
        }
        room.put(CREATOR, "m.room.join_rules", "", json!({ "join_rule": self.join_rule }));
        third_party_invites::put_original(&mut room);
        room
    }

    fn event(&self, room: &TestRoom) -> Pdu {
        let create_id = room.create.event_id().as_str();
        let prev_events: &[&str] = match (self.event_type, self.follows_create) {
            ("m.room.create", false) => &[],
            (_, true) => &[create_id],
            (_, false) => &["$a:one", create_id],
        };
        room.event_after(prev_events, self.sender, self.event_type, self.state_key.as_deref(), &self.content)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_verdict_is_that_of_ruma(case in any_case()) {
        let room = case.room();
        let event = case.event(&room);
        let rules = &case.version.rules().authorization;
        let theirs = if case.event_type == "m.room.create" {
            // Ruma counts the rules for create events among those that no state matters for.
            check_state_independent_auth_rules(rules, Foreign::new(&event), |_| None::<Foreign>)
        } else {
            check_state_dependent_auth_rules(rules, Foreign::new(&event), |event_type: &StateEventType, key: &str| {
                room.state.get(&event_type.to_string(), key).map(Foreign::new)
            })
        };
        let ours = check(&event, &room.state);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "ours: {:?}, ruma's: {:?}", ours, theirs);
    }

    #[test]
    fn an_event_needs_the_state_that_ruma_says_and_no_other(case in any_case()) {
        let room = case.room();
        let event = case.event(&room);
        let foreign = Foreign::new(&event);
        let rules = &case.version.rules().authorization;
        let theirs = ruma_auth_types(&foreign.event_type, event.sender(), event.state_key(), &foreign.content, rules);
        let ours = auth_types_for_event(case.version, case.event_type, event.sender(), event.state_key(), event.content());
        let theirs = theirs.ok().map(|types| {
            types.into_iter().map(|(event_type, key)| (event_type.to_string(), key)).collect::<BTreeSet<_>>()
        });
        // An unknown membership is refused here already, and by ruma one step later.
        if matches!(case.content["membership"].as_str(), None | Some("join" | "invite" | "leave" | "ban" | "knock")) {
            let ours = ours.ok().map(|types| {
                types.into_iter().map(|(event_type, key)| (event_type.to_owned(), key)).collect::<BTreeSet<_>>()
            });
            prop_assert_eq!(&ours, &theirs);
        }
    }

    #[test]
    fn the_verdict_on_auth_events_is_that_of_ruma(
        case in any_case(),
        picks in prop::collection::vec((any::<prop::sample::Index>(), prop::bool::weighted(0.05)), 0..7),
        with_needed in prop::bool::weighted(0.8),
    ) {
        let room = case.room();
        let event = case.event(&room);
        let state = room.state.events();
        let mut named: Vec<(Pdu, bool)> = picks
            .iter()
            .take(if with_needed { picks.len() % 2 } else { picks.len() })
            .map(|(index, rejected)| (index.get(state).clone(), *rejected))
            .collect();
        if with_needed
            && let Ok(types) =
                auth_types_for_event(case.version, case.event_type, event.sender(), event.state_key(), event.content())
        {
            named.extend(types.iter().filter_map(|(event_type, key)| room.state.get(event_type, key)).map(|pdu| (pdu.clone(), false)));
        }

        let mut foreign = Foreign::new(&event);
        // Numbered IDs, because the same event may be named twice and be rejected once.
        let known: Vec<Foreign> = named
            .iter()
            .enumerate()
            .map(|(index, (pdu, rejected))| Foreign {
                event_id: EventId::parse(format!("$auth{index}:one")).unwrap(),
                rejected: *rejected,
                ..Foreign::new(pdu)
            })
            .collect();
        foreign.auth_events = known.iter().map(|auth_event| auth_event.event_id.clone()).collect();
        let theirs = check_state_independent_auth_rules(&case.version.rules().authorization, foreign, |id: &EventId| {
            let named = known.iter().find(|auth_event| auth_event.event_id == id).cloned();
            named.or_else(|| (room.create.event_id() == id).then(|| Foreign::new(&room.create)))
        });

        let auth_events: Vec<_> = named.iter().map(|(event, rejected)| AuthEvent { event, rejected: *rejected }).collect();
        let ours = check_auth_events(&event, &auth_events, Some(AuthEvent { event: &room.create, rejected: false }));
        if case.content.get("membership") != Some(&json!("lurk")) && case.event_type != "m.room.create" {
            prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "ours: {:?}, ruma's: {:?}", ours, theirs);
        }
    }
}

#[test]
fn both_verdicts_come_up_for_every_version_and_kind_of_event() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..3000 {
        let case = any_case().new_tree(&mut runner).unwrap().current();
        let room = case.room();
        let verdict = check(&case.event(&room), &room.state).is_ok();
        // Memberships have too many kinds to come up in every version.
        let version = (case.event_type != "m.room.member").then_some(case.version);
        let kind = if case.content.get("third_party_invite").is_some() {
            json!("third")
        } else {
            case.content["membership"].clone()
        };
        seen.insert((version, case.event_type, kind.to_string(), verdict));
    }
    for verdict in [true, false] {
        for membership in ["join", "invite", "leave", "ban", "knock", "third"] {
            let kind = (None, "m.room.member", format!("\"{membership}\""), verdict);
            assert!(seen.contains(&kind), "{kind:?} never came up");
        }
        for version in RoomVersion::ALL {
            for event_type in ["m.room.create", "m.room.power_levels", "m.room.message", "m.room.redaction"] {
                let kind = (Some(version), event_type, "null".to_owned(), verdict);
                assert!(seen.contains(&kind), "{kind:?} never came up");
            }
        }
    }
}
