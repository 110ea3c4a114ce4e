mod limits;

use proptest::prelude::*;
use ruma::{
    EventId, OwnedEventId, RoomId, ServerName, UserId,
    canonical_json::{CanonicalJsonObject, redact as ruma_redact},
    serde::{Base64, base64::Standard},
    signatures::{Ed25519KeyPair, KeyPair as _, PublicKeyMap, Verified, verify_event},
};
use serde_json::{Value, json};

use super::*;
use crate::{CanonicalObject, EventError, Numbers, RoomVersion, redact, redact_pdu};

const SERVER: &str = "domain";

/// The key of the specification's
/// [test vectors](https://spec.matrix.org/v1.19/appendices/#cryptographic-test-vectors).
pub(crate) fn key_pair() -> Ed25519KeyPair {
    let seed: Base64 = Base64::parse("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap();
    let mut document = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    document.extend_from_slice(seed.as_bytes());
    Ed25519KeyPair::from_der(&document, "1".into()).unwrap()
}

fn content(value: &Value) -> CanonicalObject {
    CanonicalObject::from_serialize(value, Numbers::Strict).unwrap()
}

fn object(json: &[u8]) -> CanonicalJsonObject {
    serde_json::from_slice(json).unwrap()
}

#[derive(Debug, Clone)]
struct Sample {
    version: RoomVersion,
    event_type: String,
    state_key: Option<String>,
    content: Value,
    redacts: Option<OwnedEventId>,
    references: usize,
}

impl Sample {
    fn build(&self) -> BuiltEvent {
        let references: Vec<_> = (0..self.references)
            .map(|index| EventReference {
                event_id: EventId::parse(format!("${index}:{SERVER}")).unwrap(),
                sha256: Some("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".into()),
            })
            .collect();
        let room_id = RoomId::parse("!room:domain").unwrap();
        let makes_room = self.event_type == "m.room.create" && self.version == RoomVersion::V12;
        let event_id = EventId::parse("$given:domain").unwrap();
        EventBuilder {
            version: self.version,
            room_id: (!makes_room).then_some(&*room_id),
            event_id: Some(&event_id),
            sender: <&UserId>::try_from("@a:domain").unwrap(),
            event_type: &self.event_type,
            state_key: self.state_key.as_deref(),
            content: content(&self.content),
            redacts: self.redacts.as_deref(),
            prev_events: &references,
            auth_events: &references,
            depth: 12,
            origin_server_ts: 1_700_000_000_000,
        }
        .build(<&ServerName>::try_from(SERVER).unwrap(), &key_pair())
        .unwrap()
    }
}

fn any_version() -> impl Strategy<Value = RoomVersion> {
    prop::sample::select(RoomVersion::ALL.to_vec())
}

fn any_content() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "membership",
        "join_authorised_via_users_server",
        "third_party_invite",
        "creator",
        "room_version",
        "join_rule",
        "allow",
        "ban",
        "events",
        "events_default",
        "kick",
        "redact",
        "invite",
        "state_default",
        "users",
        "users_default",
        "aliases",
        "history_visibility",
        "redacts",
        "body",
        "ключ",
    ]);
    let value = prop_oneof![
        "[a-zé\"\\\\\n]{0,8}".prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(json!({ "signed": { "token": "t" }, "display_name": "d" })),
        Just(json!({ "display_name": "d" })),
        Just(json!(["a", { "b": null }])),
    ];
    prop::collection::vec((key, value), 0..12).prop_map(|members| {
        // Ruma keeps a third-party invite that is no object, which has no key to keep; others drop it.
        let comparable = members.into_iter().filter(|(key, value)| *key != "third_party_invite" || value.is_object());
        comparable.map(|(key, value)| (key.to_owned(), value)).collect()
    })
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let event_type = prop::sample::select(vec![
        "m.room.message",
        "m.room.member",
        "m.room.create",
        "m.room.join_rules",
        "m.room.power_levels",
        "m.room.aliases",
        "m.room.history_visibility",
        "m.room.redaction",
        "m.room.name",
        "a\"quoted\\type",
    ]);
    let state_key = prop::option::of("[a-zé\"\n@:]{0,6}");
    let redacts = prop::option::of(Just(EventId::parse("$redacted:domain").unwrap()));
    (any_version(), event_type, state_key, any_content(), redacts, 0_usize..=10).prop_map(
        |(version, event_type, state_key, content, redacts, references)| {
            let redacts = redacts.filter(|_| event_type == "m.room.redaction");
            Sample { version, event_type: event_type.to_owned(), state_key, content, redacts, references }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_built_event_verifies_and_has_the_name_that_ruma_gives_it(sample in any_sample()) {
        let built = sample.build();
        let rules = sample.version.rules();
        let pdu = object(&built.pdu.to_json());

        let mut keys = PublicKeyMap::new();
        let public_key = Base64::new(key_pair().public_key().to_vec());
        keys.insert(SERVER.into(), [("ed25519:1".to_owned(), public_key)].into());
        // Ruma reads member events, and this key of any event, to find out which servers must have signed.
        if sample.event_type != "m.room.member" && sample.content.get("join_authorised_via_users_server").is_none() {
            prop_assert_eq!(verify_event(&keys, &pdu, rules).unwrap(), Verified::All);
        }
        if !sample.version.event_id_in_pdu() {
            let hash = ruma::signatures::reference_hash(&pdu, rules).unwrap();
            prop_assert_eq!(built.pdu.event_id().as_str(), format!("${hash}"));
        }
        prop_assert!(built.pdu.has_valid_content_hash());
    }

    #[test]
    fn the_two_texts_and_the_whole_pdu_give_the_same_event(sample in any_sample()) {
        let built = sample.build();
        let json = built.pdu.to_json();
        let canonical = CanonicalObject::parse(&json, Numbers::Strict).unwrap();
        prop_assert_eq!(canonical.as_bytes(), &json[..]);
        let parsed = Pdu::parse(sample.version, &json).unwrap();
        prop_assert_eq!(&parsed, &built.pdu);
        let stored = Pdu::from_stored(
            sample.version, built.pdu.room_id().to_owned(), built.client_json.clone(), built.federation_json.clone(),
        ).unwrap();
        for pdu in [&parsed, &stored] {
            prop_assert_eq!(pdu.event_type(), sample.event_type.as_str());
            prop_assert_eq!(pdu.state_key(), sample.state_key.as_deref());
            prop_assert_eq!(pdu.content(), built.pdu.content());
            prop_assert_eq!(pdu.redacts(), built.pdu.redacts());
            prop_assert_eq!(pdu.prev_events(), built.pdu.prev_events());
            prop_assert_eq!(pdu.auth_events(), built.pdu.auth_events());
            prop_assert_eq!((pdu.depth(), pdu.origin_server_ts()), (12, 1_700_000_000_000));
            prop_assert_eq!(pdu.to_json(), json.clone());
        }
    }

    #[test]
    fn redaction_keeps_what_ruma_keeps(sample in any_sample()) {
        let built = sample.build();
        let json = built.pdu.to_json();
        let expected = ruma_redact(object(&json), &sample.version.rules().redaction, None).unwrap();
        let redacted = object(&redact_pdu(sample.version, &json));
        prop_assert_eq!(redacted, expected);

        let redacted = built.pdu.redacted().unwrap();
        prop_assert_eq!(redacted.to_json(), redact_pdu(sample.version, &json));
        prop_assert_eq!(redacted.event_id(), built.pdu.event_id());
        prop_assert_eq!(&redacted.client_json()[..], &redact(sample.version, &built.client_json)[..]);
        prop_assert_eq!(redacted.redacted().unwrap(), redacted);
    }

    #[test]
    fn unknown_keys_of_a_pdu_survive_storage(sample in any_sample(), value in any_content()) {
        let mut pdu: Value = serde_json::from_slice(&sample.build().pdu.to_json()).unwrap();
        for key in ["unsigned", "origin", "!", "a\"b", "zz", "redacts", "event_id_"] {
            pdu[key] = value.clone();
        }
        if !sample.version.event_id_in_pdu() {
            pdu["event_id"] = json!("$false:domain");
        }
        let canonical = content(&pdu);
        let parsed = Pdu::parse(sample.version, canonical.as_bytes()).unwrap();
        prop_assert_eq!(parsed.to_json(), canonical.as_bytes());
    }
}

#[test]
fn the_signed_events_of_the_specification_come_out_as_it_says() {
    let vectors = [
        (
            json!({
                "auth_events": [], "content": {}, "depth": 3, "hashes": {}, "origin": "domain",
                "origin_server_ts": 1_000_000, "prev_events": [], "room_id": "!x:domain", "sender": "@a:domain",
                "signatures": {}, "type": "X", "unsigned": { "age_ts": 1_000_000 },
            }),
            "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
        ),
        (
            json!({
                "content": { "body": "Here is the message content" }, "event_id": "$0:domain", "hashes": {},
                "origin": "domain", "origin_server_ts": 1_000_000, "room_id": "!r:domain", "sender": "@u:domain",
                "signatures": {}, "type": "m.room.message", "unsigned": { "age_ts": 1_000_000 },
            }),
            "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g",
            "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
        ),
    ];
    for (mut event, hash, signature) in vectors {
        let json = content(&event);
        assert_eq!(Base64::<Standard>::new(super::hash::content_hash(json.as_bytes()).to_vec()).encode(), hash);
        event["hashes"] = json!({ "sha256": hash });
        let signed = crate::redact::redact_for_signing(RoomVersion::V1, content(&event).as_bytes());
        assert_eq!(key_pair().sign(&signed).base64(), signature);
    }
}

fn sample(version: RoomVersion, event_type: &str, state_key: Option<&str>, content: Value) -> Sample {
    Sample {
        version,
        event_type: event_type.into(),
        state_key: state_key.map(Into::into),
        content,
        redacts: None,
        references: 1,
    }
}

#[test]
fn the_client_text_has_what_clients_read_and_no_more() {
    let built = sample(RoomVersion::V10, "m.room.name", Some(""), json!({ "name": "n" })).build();
    let expected = format!(
        r#"{{"content":{{"name":"n"}},"event_id":"{}","origin_server_ts":1700000000000,"sender":"@a:domain","state_key":"","type":"m.room.name"}}"#,
        built.pdu.event_id()
    );
    assert_eq!(built.client_json, expected);
    let keys: Vec<_> = object(&built.federation_json).into_keys().collect();
    assert_eq!(keys, ["auth_events", "depth", "hashes", "prev_events", "signatures"]);
}

#[test]
fn a_redaction_names_its_event_where_its_version_and_clients_look() {
    for version in RoomVersion::ALL {
        let mut sample = sample(version, "m.room.redaction", None, json!({ "reason": "spam" }));
        sample.redacts = Some(EventId::parse("$spam:domain").unwrap());
        let built = sample.build();
        let client: Value = serde_json::from_slice(&built.client_json).unwrap();
        let pdu: Value = serde_json::from_slice(&built.pdu.to_json()).unwrap();
        let in_content = version >= RoomVersion::V11;
        assert_eq!(client["redacts"], "$spam:domain");
        assert_eq!(pdu.get("redacts").is_some(), !in_content);
        assert_eq!(pdu["content"].get("redacts").is_some(), in_content);
        assert_eq!(built.pdu.redacts().unwrap(), "$spam:domain");
    }
}

#[test]
fn of_a_third_party_invite_redaction_keeps_the_signed_part_alone() {
    for (invite, left) in [
        (json!({ "display_name": "d", "signed": { "token": "t" } }), json!({ "signed": { "token": "t" } })),
        (json!({ "display_name": "d" }), json!({})),
        (json!("d"), Value::Null),
    ] {
        let content = json!({ "membership": "invite", "third_party_invite": invite });
        for (version, left) in [(RoomVersion::V10, Value::Null), (RoomVersion::V11, left)] {
            let redacted = sample(version, "m.room.member", Some("@b:domain"), content.clone()).build().pdu.redacted();
            let redacted: Value = serde_json::from_slice(redacted.unwrap().content().as_bytes()).unwrap();
            assert_eq!(redacted["third_party_invite"], left);
        }
    }
}

#[test]
fn the_create_event_of_version_12_names_its_room() {
    let built = sample(RoomVersion::V12, "m.room.create", Some(""), json!({ "room_version": "12" })).build();
    assert_eq!(built.pdu.room_id().as_str().strip_prefix('!'), built.pdu.event_id().as_str().strip_prefix('$'));
    assert!(!object(&built.pdu.to_json()).contains_key("room_id"));

    let mut pdu: Value = serde_json::from_slice(&built.pdu.to_json()).unwrap();
    pdu["room_id"] = json!("!room:domain");
    let parsed = Pdu::parse(RoomVersion::V12, pdu.to_string().as_bytes());
    assert_eq!(parsed.unwrap_err(), EventError::ForbiddenKey { key: "room_id" });
}

#[test]
fn event_ids_are_given_then_hashes_in_one_alphabet_then_in_the_other() {
    for version in RoomVersion::ALL {
        let ids: Vec<_> = (0..64)
            .map(|number| sample(version, "m.room.message", None, json!({ "n": number })).build().pdu)
            .map(|pdu| pdu.event_id().as_str().to_owned())
            .collect();
        if version < RoomVersion::V3 {
            assert!(ids.iter().all(|id| id == "$given:domain"));
            continue;
        }
        let has = |characters: [char; 2]| ids.iter().any(|id| id.contains(characters));
        assert!(ids.iter().all(|id| id.len() == "$".len() + 43));
        assert_eq!(has(['+', '/']), version == RoomVersion::V3, "{version}");
        assert_eq!(has(['-', '_']), version > RoomVersion::V3, "{version}");
    }
}
