use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ruma::signatures::KeyPair as _;
use serde_json::{Value, json};

use super::room::{ALICE, BOB, CAROL, TestRoom};
use crate::{CanonicalObject, Numbers, RoomVersion, event::tests::key_pair};

fn room() -> TestRoom {
    let mut room = TestRoom::public(RoomVersion::V11, &json!({ "users": { ALICE: 50 } }));
    room.join(ALICE);
    put_original(&mut room);
    room
}

/// The event that invites an address, which a later invite of a user refers to.
pub(super) fn put_original(room: &mut TestRoom) {
    let key = STANDARD_NO_PAD.encode(key_pair().public_key());
    room.put(
        ALICE,
        "m.room.third_party_invite",
        "token",
        json!({
            "display_name": "b…", "key_validity_url": "https://id/", "public_key": "AAAA",
            "public_keys": [{ "public_key": "not a key" }, { "public_key": key }],
        }),
    );
}

pub(super) fn invite(mxid: &str, token: &str) -> Value {
    let mut signed = json!({ "mxid": mxid, "token": token });
    let message = CanonicalObject::from_serialize(&signed, Numbers::Strict).unwrap();
    let signature = key_pair().sign(message.as_bytes()).base64();
    signed["signatures"] = json!({ "id": { "ed25519:0": signature } });
    json!({ "membership": "invite", "third_party_invite": { "display_name": "b…", "signed": signed } })
}

#[test]
fn an_invite_that_the_identity_server_signed_over_is_allowed() {
    assert_eq!(room().check(ALICE, "m.room.member", Some(BOB), &invite(BOB, "token")), Ok(()));
}

#[test]
fn an_invite_without_a_valid_signature_is_refused() {
    let mut content = invite(BOB, "token");
    content["third_party_invite"]["signed"]["more"] = json!("unsigned words");
    let refusal = room().refusal(ALICE, "m.room.member", Some(BOB), &content);
    assert_eq!(refusal, "The third-party invite is not valid: no signature matches a key of the invite.");
}

#[test]
fn an_invite_counts_only_for_its_user_its_token_and_its_sender() {
    let room = room();
    for (sender, target, content, reason) in [
        (ALICE, CAROL, invite(BOB, "token"), "it is for another user"),
        (ALICE, BOB, invite(BOB, "other"), "the room has no invite with its token"),
        (BOB, BOB, invite(BOB, "token"), "another user sent it"),
        (
            ALICE,
            BOB,
            json!({ "membership": "invite", "third_party_invite": { "signed": { "mxid": BOB } } }),
            "`signed` with `mxid` and `token` is missing",
        ),
    ] {
        let refusal = room.refusal(sender, "m.room.member", Some(target), &content);
        assert_eq!(refusal, format!("The third-party invite is not valid: {reason}."));
    }
}

#[test]
fn a_banned_user_is_not_invited_by_third_parties() {
    let mut room = room();
    room.put(ALICE, "m.room.member", BOB, json!({ "membership": "ban" }));
    let refusal = room.refusal(ALICE, "m.room.member", Some(BOB), &invite(BOB, "token"));
    assert_eq!(refusal, "@bob:two is banned from this room.");
}
