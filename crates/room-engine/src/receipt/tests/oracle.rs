//! Hashes and signatures get the verdict that ruma gives them, on events that are changed on their way.

use proptest::prelude::*;
use ruma::{
    canonical_json::CanonicalJsonObject,
    serde::Base64,
    signatures::{PublicKeyMap, Verified, verify_event},
};
use serde_json::{Value, json};

use super::world::{ALICE, BOB, CREATOR, KEY_ID, SERVERS, World, key_pair, keys, receive, signed_by, value};
use crate::{
    RoomVersion,
    receipt::{Form, Rejected, Verdict},
};

#[derive(Debug, Clone, Copy)]
enum Change {
    Nothing,
    Content,
    Depth,
    Hash,
    Signature,
    NoSignature,
    NoSignatures,
    UnknownKey,
    Unsigned,
    EventId,
    Membership,
}

const CHANGES: [Change; 11] = [
    Change::Nothing,
    Change::Content,
    Change::Depth,
    Change::Hash,
    Change::Signature,
    Change::NoSignature,
    Change::NoSignatures,
    Change::UnknownKey,
    Change::Unsigned,
    Change::EventId,
    Change::Membership,
];

impl Change {
    fn apply(self, pdu: &mut Value) {
        match self {
            Self::Nothing => {}
            Self::Content => pdu["content"]["added"] = json!("text"),
            Self::Depth => pdu["depth"] = json!(77),
            Self::Hash => pdu["hashes"]["sha256"] = json!("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"),
            Self::Signature => pdu["signatures"]["one"][KEY_ID] = json!("AAAA"),
            Self::NoSignature => drop(pdu["signatures"].as_object_mut().unwrap().remove("one")),
            Self::NoSignatures => pdu["signatures"] = json!({}),
            Self::UnknownKey => pdu["signatures"]["one"]["ed25519:unknown"] = json!("AAAA"),
            Self::Unsigned => pdu["unsigned"] = json!({ "age": 1 }),
            Self::EventId => pdu["event_id"] = json!("$e:three"),
            Self::Membership => pdu["membership"] = json!("join"),
        }
    }
}

fn any_content() -> impl Strategy<Value = (&'static str, Value)> {
    prop::sample::select(vec![
        ("m.room.message", json!({ "body": "b" })),
        ("m.room.power_levels", json!({ "users": { CREATOR: 100 }, "invite": 50 })),
        ("m.room.member", json!({ "membership": "join" })),
        ("m.room.member", json!({ "membership": "join", "join_authorised_via_users_server": BOB })),
        ("m.room.member", json!({ "membership": "leave", "join_authorised_via_users_server": "@c:three" })),
        ("m.room.member", json!({ "membership": "invite", "third_party_invite": { "signed": { "token": "t" } } })),
        ("m.room.member", json!({ "membership": "leave", "third_party_invite": { "display_name": "d" } })),
    ])
}

fn ruma_keys() -> PublicKeyMap {
    let key = |name: &&str| Base64::new(key_pair(name).public_key().to_vec());
    SERVERS.iter().map(|name| ((*name).to_owned(), [(KEY_ID.to_owned(), key(name))].into())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn hashes_and_signatures_are_judged_as_ruma_judges_them(
        version in prop::sample::select(RoomVersion::ALL.to_vec()),
        (event_type, content) in any_content(),
        also_signs in prop::option::of(prop::sample::select(vec!["two", "three"])),
        changes in prop::collection::vec(prop::sample::select(CHANGES.to_vec()), 0..3),
        signs_after in any::<bool>(),
    ) {
        let world = World::new(version, "public");
        let mut pdu = value(&world.send(ALICE, event_type, Some(ALICE), &content, &[]));
        if let Some(server) = also_signs {
            pdu = signed_by(version, pdu, server);
        }
        for change in &changes {
            change.apply(&mut pdu);
        }
        if signs_after {
            pdu = signed_by(version, pdu, "one");
        }

        let object: CanonicalJsonObject = serde_json::from_value(pdu.clone()).unwrap();
        let theirs = verify_event(&ruma_keys(), &object, version.rules()).ok();
        let received = receive(version, &pdu);
        let form = received.form();
        let ours = received.verify(&keys()).ok().and_then(|verified| {
            // Nothing else is known, so an event that has all signatures fails on the first event that it names.
            let judged = verified.check_auth_events(|_| None).err()?;
            let broke_rule = matches!(judged.verdict, Verdict::Rejected(Rejected::AuthorisingServer(_)));
            (!broke_rule).then_some(form)
        });
        let theirs = theirs.map(|verified| if verified == Verified::All { Form::Whole } else { Form::Redacted });

        // Ruma decides who must have signed on the event as it came, and this crate on the form that is kept.
        let loses_signer = form == Form::Redacted
            && ((version < RoomVersion::V11 && content["membership"] == "invite")
                || (version == RoomVersion::V8 && content.get("join_authorised_via_users_server").is_some()));
        if !loses_signer {
            prop_assert_eq!(ours, theirs);
        }
    }
}
