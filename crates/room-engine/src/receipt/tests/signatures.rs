use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use serde_json::{Value, json};

use super::world::{
    ALICE, BOB, CREATOR, KEY_ID, NOW, World, current_key, hashed_and_signed_by, key_pair, keys, public_key, receive,
    server, signed_by, value,
};
use crate::{
    CanonicalObject, Numbers, RoomVersion,
    content::decode_base64,
    event::tests::key_pair as specified_key_pair,
    receipt::{
        Dropped, KeyRing, KeyUse, KeyValidity, MalformedKey, SignatureFault, Signer, VerifyKey,
        policy_server_has_signed, verify_json,
    },
};

fn message(version: RoomVersion) -> Value {
    value(&World::new(version, "public").send(CREATOR, "m.room.message", None, &json!({ "body": "b" }), &[]))
}

fn fault(version: RoomVersion, pdu: &Value, keys: &KeyRing) -> Option<SignatureFault> {
    match receive(version, pdu).verify(keys) {
        Ok(_) => None,
        Err(Dropped::Signature(fault)) => Some(fault),
        Err(other) => panic!("{other}"),
    }
}

fn ring(key: VerifyKey) -> KeyRing {
    let mut ring = KeyRing::new();
    ring.insert(server("one"), KEY_ID, key);
    ring
}

#[test]
fn the_server_of_the_sender_must_have_signed() {
    for version in RoomVersion::ALL {
        let pdu = message(version);
        assert_eq!(fault(version, &pdu, &keys()), None);
        let mut without = pdu.clone();
        without["signatures"] = json!({ "two": pdu["signatures"]["one"] });
        let missing = Some(SignatureFault::Missing { server: server("one").to_owned() });
        assert_eq!(fault(version, &without, &keys()), missing);
        without["signatures"] = json!({ "one": { "rsa:1": "AAAA" } });
        assert_eq!(fault(version, &without, &keys()), missing);
        let unknown = Some(SignatureFault::NoKnownKey { server: server("one").to_owned() });
        assert_eq!(fault(version, &pdu, &KeyRing::new()), unknown);
    }
}

#[test]
fn a_signature_covers_what_a_redaction_leaves() {
    for version in RoomVersion::ALL {
        let mut pdu = message(version);
        pdu["content"]["body"] = json!("other");
        assert_eq!(fault(version, &pdu, &keys()), None);
        pdu["depth"] = json!(1000);
        let wrong = SignatureFault::Wrong { server: server("one").to_owned(), key_id: KEY_ID.into() };
        assert_eq!(fault(version, &pdu, &keys()), Some(wrong));
    }
}

#[test]
fn the_server_in_an_event_id_must_have_signed_in_the_first_versions() {
    for version in [RoomVersion::V1, RoomVersion::V2, RoomVersion::V3] {
        let mut pdu = message(version);
        pdu["event_id"] = json!("$e:two");
        let pdu = hashed_and_signed_by(version, pdu, "one");
        let needs = receive(version, &pdu).needed_signatures();
        let signers: Vec<_> = needs.iter().map(|needed| (needed.server.as_str(), needed.signer)).collect();
        if version == RoomVersion::V3 {
            assert_eq!(signers, [("one", Signer::Sender)]);
            assert_eq!(fault(version, &pdu, &keys()), None);
        } else {
            assert_eq!(signers, [("one", Signer::Sender), ("two", Signer::EventId)]);
            let missing = SignatureFault::Missing { server: server("two").to_owned() };
            assert_eq!(fault(version, &pdu, &keys()), Some(missing));
            assert_eq!(fault(version, &signed_by(version, pdu, "two"), &keys()), None);
        }
    }
}

#[test]
fn a_key_of_the_present_ends_with_its_validity_since_version_5() {
    for version in RoomVersion::ALL {
        let pdu = message(version);
        let with_key_until =
            |valid_until_ts| ring(VerifyKey::current(&public_key("one"), valid_until_ts, NOW).unwrap());
        assert_eq!(fault(version, &pdu, &with_key_until(NOW)), None);
        assert_eq!(fault(version, &pdu, &with_key_until(NOW - 1)).is_none(), version < RoomVersion::V5);
    }
}

#[test]
fn a_key_of_the_past_counts_for_events_of_its_time_in_every_version() {
    for version in RoomVersion::ALL {
        let pdu = message(version);
        let with_key_until = |expired_ts| ring(VerifyKey::old(&public_key("one"), expired_ts).unwrap());
        assert_eq!(fault(version, &pdu, &with_key_until(NOW)), None);
        let unknown = SignatureFault::NoKnownKey { server: server("one").to_owned() };
        assert_eq!(fault(version, &pdu, &with_key_until(NOW - 1)), Some(unknown));
    }
}

#[test]
fn a_key_is_believed_for_seven_days() {
    let week_ms = 7 * 24 * 60 * 60 * 1000;
    let key = VerifyKey::current(&public_key("one"), i64::MAX, NOW).unwrap();
    assert_eq!(key.validity(), KeyValidity::Current { valid_until_ts: NOW + week_ms });
    assert!(key.is_valid_for(KeyUse::Now { now_ms: NOW + week_ms }));
    assert!(!key.is_valid_for(KeyUse::Now { now_ms: NOW + week_ms + 1 }));
    let old = VerifyKey::old(&public_key("one"), i64::MAX).unwrap();
    assert!(!old.is_valid_for(KeyUse::Now { now_ms: NOW }));
}

#[test]
fn keys_are_thirty_two_bytes_in_any_base64() {
    let bytes = key_pair("one").public_key();
    for text in [public_key("one"), STANDARD.encode(bytes), URL_SAFE.encode(bytes)] {
        assert_eq!(VerifyKey::current(&text, NOW + 1, NOW), Ok(current_key("one")));
    }
    for text in ["", "AAAA", "not a key", "é", &STANDARD.encode([0; 31]), &STANDARD.encode([0; 33])] {
        assert_eq!(VerifyKey::old(text, NOW), Err(MalformedKey));
    }
}

#[test]
fn signatures_are_read_from_any_base64_and_never_from_anything_else() {
    let version = RoomVersion::V11;
    let pdu = message(version);
    let bytes = decode_base64(pdu["signatures"]["one"][KEY_ID].as_str().unwrap()).unwrap();
    for text in [STANDARD.encode(&bytes), URL_SAFE.encode(&bytes)] {
        let mut pdu = pdu.clone();
        pdu["signatures"]["one"][KEY_ID] = json!(text);
        assert_eq!(fault(version, &pdu, &keys()), None);
    }
    let longer = STANDARD.encode([&bytes[..], &[0]].concat());
    for wrong in [json!(""), json!("!"), json!("AAAA"), json!(longer), json!(STANDARD.encode([0xff; 64])), json!(1)] {
        let mut pdu = pdu.clone();
        pdu["signatures"]["one"][KEY_ID] = wrong;
        assert!(matches!(fault(version, &pdu, &keys()), Some(SignatureFault::Wrong { .. })));
    }
}

#[test]
fn a_key_that_is_no_point_of_the_curve_verifies_nothing() {
    let no_point = STANDARD.encode([2; 32]);
    let fault = fault(RoomVersion::V11, &message(RoomVersion::V11), &ring(VerifyKey::old(&no_point, NOW).unwrap()));
    assert!(matches!(fault, Some(SignatureFault::Wrong { .. })));
}

#[test]
fn unknown_keys_are_passed_over_and_known_ones_must_all_be_right() {
    let version = RoomVersion::V11;
    let mut pdu = message(version);
    pdu["signatures"]["one"]["ed25519:unknown"] = json!("AAAA");
    assert_eq!(fault(version, &pdu, &keys()), None);
    let mut ring = keys();
    ring.insert(server("one"), "ed25519:unknown", current_key("one"));
    assert!(
        matches!(fault(version, &pdu, &ring), Some(SignatureFault::Wrong { key_id, .. }) if &*key_id == "ed25519:unknown")
    );
}

#[test]
fn a_server_that_signs_too_often_is_not_listened_to() {
    let version = RoomVersion::V11;
    let mut pdu = message(version);
    for number in 0..32 {
        pdu["signatures"]["one"][format!("ed25519:{number}")] = json!("AAAA");
    }
    let too_many = SignatureFault::TooMany { server: server("one").to_owned(), count: 33, limit: 32 };
    assert_eq!(fault(version, &pdu, &keys()), Some(too_many));
    assert_eq!(receive(version, &pdu).needed_signatures()[0].key_ids.len(), 32);
}

#[test]
fn an_invite_that_began_with_a_third_party_needs_no_signature_of_the_sender() {
    for version in RoomVersion::ALL {
        let world = World::new(version, "invite");
        let signed = json!({ "mxid": BOB, "token": "t", "signatures": {} });
        let content = json!({ "membership": "invite", "third_party_invite": { "signed": signed } });
        let invite = value(&world.send(ALICE, "m.room.member", Some(BOB), &content, &[]));
        let mut unsigned = invite.clone();
        unsigned["signatures"] = json!({});
        let needs_none = receive(version, &unsigned).needed_signatures().is_empty();
        // The server in the event ID is not exempt.
        assert_eq!(needs_none, !version.event_id_in_pdu());

        // A hash that does not fit takes the third party away, and the exemption with it.
        let mut forged = unsigned;
        forged["hashes"]["sha256"] = json!("AAAA");
        let keeps_third_party = version >= RoomVersion::V11;
        assert_eq!(receive(version, &forged).needed_signatures().is_empty(), keeps_third_party);
        assert_eq!(fault(version, &forged, &keys()).is_none(), keeps_third_party);
    }
}

#[test]
fn json_is_checked_as_the_specification_signs_it() {
    let mut ring = KeyRing::new();
    let key = STANDARD.encode(specified_key_pair().public_key());
    ring.insert(server("domain"), "ed25519:1", VerifyKey::current(&key, NOW + 1, NOW).unwrap());
    let check = |object: &Value, now_ms| {
        let object = CanonicalObject::from_serialize(object, Numbers::Strict).unwrap();
        verify_json(&object, server("domain"), &ring, KeyUse::Now { now_ms })
    };
    // https://spec.matrix.org/v1.19/appendices/#json-signing
    for (mut object, signature) in [
        (json!({}), "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
        (
            json!({ "one": 1, "two": "Two" }),
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
        ),
    ] {
        object["signatures"] = json!({ "domain": { "ed25519:1": signature } });
        object["unsigned"] = json!({ "age_ts": 1 });
        assert_eq!(check(&object, NOW), Ok(()));
        assert!(matches!(check(&object, NOW + 2), Err(SignatureFault::NoKnownKey { .. })));
        object["one"] = json!(2);
        assert!(matches!(check(&object, NOW), Err(SignatureFault::Wrong { .. })));
        object["signatures"] = json!([]);
        assert!(matches!(check(&object, NOW), Err(SignatureFault::Missing { .. })));
    }
}

#[test]
fn a_policy_server_recommends_by_its_own_key() {
    let version = RoomVersion::V11;
    let world = World::new(version, "public");
    let sent = value(&world.send(CREATOR, "m.room.message", None, &json!({}), &[]));
    let mut recommended = signed_by(version, sent.clone(), "three");
    recommended["signatures"]["three"] = json!({ "ed25519:policy_server": recommended["signatures"]["three"][KEY_ID] });
    let key = public_key("three");
    let check = |pdu: &Value, key: &str| policy_server_has_signed(receive(version, pdu).event(), server("three"), key);
    assert!(check(&recommended, &key));
    assert!(!check(&recommended, &public_key("one")));
    assert!(!check(&recommended, "no key"));
    assert!(!check(&sent, &key));
    let policy = world.send(CREATOR, "m.room.policy", Some(""), &json!({}), &[]);
    assert!(check(&value(&policy), &key));
}
