use serde_json::json;

use super::world::{ALICE, BOB, CREATOR, World, keys, receive, signed_by, value};
use crate::{
    Pdu, RoomVersion,
    auth::{AuthError, AuthEvent, AuthState},
    receipt::{
        Dropped, Form, JudgedPdu, KeyRing, PermittedPdu, Rejected, SignatureFault, SoftFailed, Verdict, VerifiedPdu,
    },
};

fn verified(pdu: &Pdu) -> VerifiedPdu {
    receive(pdu.version(), &value(pdu)).verify(&keys()).unwrap()
}

/// Passes an event through the check of its `auth_events`. The events in `rejected` were rejected.
fn permitted(event: VerifiedPdu, known: &[Pdu], rejected: &[Pdu]) -> Result<PermittedPdu, JudgedPdu> {
    event.check_auth_events(|event_id| {
        let event = known.iter().chain(rejected).find(|event| event.event_id() == event_id)?;
        Some(AuthEvent { event, rejected: rejected.contains(event) })
    })
}

fn reason(judged: JudgedPdu) -> Rejected {
    assert!(!judged.may_change_state() && !judged.is_accepted());
    match judged.verdict {
        Verdict::Rejected(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_events_that_make_a_room_are_accepted_one_after_the_other() {
    for version in RoomVersion::ALL {
        let world = World::new(version, "public");
        let bob = world.join(BOB, &json!({ "membership": "join" }));
        let message = world.send(BOB, "m.room.message", None, &json!({ "body": "b" }), &[&bob]);
        let mut known: Vec<Pdu> = Vec::new();
        for event in world.state().into_iter().chain([bob, message]) {
            let state = AuthState::from_iter(known.clone());
            let needed = verified(&event).needed_events();
            assert!(needed.iter().all(|event_id| known.iter().any(|event| event.event_id() == event_id)));
            let allowed = permitted(verified(&event), &known, &[]).unwrap().check_state_before(&state).unwrap();
            let judged = allowed.check_current_state(&state);
            assert_eq!(judged, JudgedPdu { event: event.clone(), form: Form::Whole, verdict: Verdict::Accepted });
            known.push(event);
        }
    }
}

#[test]
fn an_event_that_its_auth_events_do_not_permit_is_rejected() {
    for version in RoomVersion::ALL {
        let world = World::new(version, "public");
        let message = world.send(BOB, "m.room.message", None, &json!({}), &[]);
        let judged = permitted(verified(&message), &world.state(), &[]).unwrap_err();
        assert_eq!(reason(judged), Rejected::AuthEvents(AuthError::SenderNotJoined));

        let stray = world.send(CREATOR, "m.room.message", None, &json!({}), &[&world.rules]);
        let judged = permitted(verified(&stray), &world.state(), &[]).unwrap_err();
        let event_id = world.rules.event_id().to_owned();
        assert_eq!(reason(judged), Rejected::AuthEvents(AuthError::UnneededAuthEvent { event_id }));
    }
}

#[test]
fn an_event_permitted_by_what_is_unknown_or_was_rejected_is_rejected() {
    for version in RoomVersion::ALL {
        let world = World::new(version, "public");
        let bob = world.join(BOB, &json!({ "membership": "join" }));
        let message = world.send(BOB, "m.room.message", None, &json!({}), &[&bob]);
        let event_id = bob.event_id().to_owned();
        let judged = permitted(verified(&message), &world.state(), &[]).unwrap_err();
        assert_eq!(reason(judged), Rejected::UnknownAuthEvent { event_id: event_id.clone() });
        let judged = permitted(verified(&message), &world.state(), &[bob]).unwrap_err();
        assert_eq!(reason(judged), Rejected::AuthEvents(AuthError::RejectedAuthEvent { event_id }));
    }
}

#[test]
fn a_room_of_version_12_stands_on_its_create_event_though_nobody_names_it() {
    let world = World::new(RoomVersion::V12, "public");
    assert!(world.levels.auth_events().iter().all(|event_id| event_id != world.create.event_id()));
    assert!(verified(&world.levels).needed_events().contains(&world.create.event_id().to_owned()));
    let judged = permitted(verified(&world.levels), &world.state()[1..], &[]).unwrap_err();
    assert_eq!(reason(judged), Rejected::UnknownAuthEvent { event_id: world.create.event_id().to_owned() });
    let judged = permitted(verified(&world.levels), &world.state()[1..], &world.state()[..1]).unwrap_err();
    assert_eq!(reason(judged), Rejected::AuthEvents(AuthError::RoomIdWithoutCreate));
}

#[test]
fn the_state_before_an_event_rejects_and_the_current_state_only_hides() {
    for version in RoomVersion::ALL {
        let world = World::new(version, "public");
        let bob = world.join(BOB, &json!({ "membership": "join" }));
        let message = world.send(BOB, "m.room.message", None, &json!({}), &[&bob]);
        let ban = world.send(CREATOR, "m.room.member", Some(BOB), &json!({ "membership": "ban" }), &[&bob]);
        let known = [world.state(), vec![bob.clone()]].concat();
        let with_bob = AuthState::from_iter(known.clone());
        let with_ban = AuthState::from_iter([known.clone(), vec![ban]].concat());
        let permitted = permitted(verified(&message), &known, &[]).unwrap();

        let judged = permitted.clone().check_state_before(&with_ban).unwrap_err();
        assert_eq!(reason(judged), Rejected::StateBefore(AuthError::SenderNotJoined));
        let judged = permitted.clone().check_state_before(&AuthState::new()).unwrap_err();
        assert_eq!(reason(judged), Rejected::StateBefore(AuthError::NoCreateEvent));

        let allowed = permitted.check_state_before(&with_bob).unwrap();
        let judged = allowed.clone().check_current_state(&with_ban);
        assert_eq!(judged.verdict, Verdict::SoftFailed(SoftFailed::CurrentState(AuthError::SenderNotJoined)));
        assert!(judged.may_change_state() && !judged.is_accepted());
        assert_eq!(judged.clone().soft_fail(SoftFailed::PolicyServer), judged);

        let hidden = allowed.accept().soft_fail(SoftFailed::PolicyServer);
        assert_eq!(hidden.verdict, Verdict::SoftFailed(SoftFailed::PolicyServer));
    }
}

#[test]
fn a_restricted_join_is_signed_by_the_server_of_who_vouches_for_it() {
    for version in RoomVersion::ALL.into_iter().filter(|version| *version >= RoomVersion::V8) {
        let world = World::new(version, "restricted");
        let content = json!({ "membership": "join", "join_authorised_via_users_server": CREATOR });
        let join = world.send(BOB, "m.room.member", Some(BOB), &content, &[&world.rules, &world.joined]);
        let missing = permitted(verified(&join), &world.state(), &[]).unwrap_err();
        assert!(matches!(reason(missing), Rejected::AuthorisingServer(SignatureFault::Missing { .. })));

        let signed = signed_by(version, value(&join), "one");
        let verified = receive(version, &signed).verify(&keys()).unwrap();
        permitted(verified, &world.state(), &[]).unwrap();

        let mut forged = signed.clone();
        forged["signatures"]["one"]["ed25519:k"] = json!("AAAA");
        let verified = receive(version, &forged).verify(&keys()).unwrap();
        let wrong = permitted(verified, &world.state(), &[]).unwrap_err();
        assert!(matches!(reason(wrong), Rejected::AuthorisingServer(SignatureFault::Wrong { .. })));

        // Not knowing a key is nothing against the event.
        let mut ring = KeyRing::new();
        ring.insert(super::world::server("two"), "ed25519:k", super::world::current_key("two"));
        assert!(receive(version, &signed).verify(&ring).unwrap_err().is_for_want_of_keys());
    }
}

#[test]
fn who_vouches_for_a_join_must_be_a_user_whatever_the_membership() {
    for version in RoomVersion::ALL {
        let world = World::new(version, "public");
        let join = world.join(BOB, &json!({ "membership": "join" }));
        for (voucher, membership) in [(json!(null), "leave"), (json!(7), "join"), (json!("bob"), "leave")] {
            let content = json!({ "membership": membership, "join_authorised_via_users_server": voucher });
            let mut named = vec![&join];
            if membership == "join" {
                named.push(&world.rules);
            }
            let event = world.send(BOB, "m.room.member", Some(BOB), &content, &named);
            let outcome = permitted(verified(&event), &[world.state(), vec![join.clone()]].concat(), &[]);
            if version < RoomVersion::V8 {
                outcome.unwrap();
            } else {
                assert_eq!(reason(outcome.unwrap_err()), Rejected::AuthorisingUser);
            }
        }
    }
}

#[test]
fn a_forged_invite_does_not_lose_its_third_party_on_the_way_in() {
    for version in RoomVersion::ALL.into_iter().filter(|version| *version >= RoomVersion::V3) {
        let world = World::new(version, "invite");
        let content = json!({ "membership": "invite", "third_party_invite": {} });
        let invite = world.send(CREATOR, "m.room.member", Some(ALICE), &content, &[&world.rules]);
        let mut forged = value(&invite);
        forged["signatures"] = json!({});
        forged["hashes"]["sha256"] = json!("AAAA");
        match receive(version, &forged).verify(&keys()) {
            Err(dropped) => {
                assert!(version < RoomVersion::V11);
                assert!(matches!(dropped, Dropped::Signature(SignatureFault::Missing { .. })));
            }
            Ok(verified) => {
                let judged = permitted(verified, &world.state(), &[]).unwrap_err();
                let refused =
                    AuthError::ThirdPartyInviteRefused { reason: "`signed` with `mxid` and `token` is missing" };
                assert_eq!(reason(judged), Rejected::AuthEvents(refused));
            }
        }
    }
}
