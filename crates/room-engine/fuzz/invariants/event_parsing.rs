//! What holds of every text that is read as an event. The fuzz target and the ordinary tests share this file.

use room_engine::{
    CanonicalObject, MAX_EVENT_BYTES, ParseLimits, Pdu, RoomVersion,
    auth::{self, AuthState, auth_types_for_event},
    join,
    receipt::{Form, KeyRing, ReceivedPdu, in_order},
    redact, redact_pdu, split,
};

/// Reads `input` as an event of every room version.
pub(crate) fn check(input: &[u8]) {
    for version in RoomVersion::ALL {
        check_in_version(version, input);
    }
}

fn check_in_version(version: RoomVersion, input: &[u8]) {
    let received = ReceivedPdu::parse(version, None, input);
    let pdu = match Pdu::parse(version, input) {
        Ok(pdu) => pdu,
        Err(_) => {
            assert!(received.is_err(), "what is no event was received");
            return;
        }
    };
    check_texts(&pdu, input);
    check_redaction(&pdu);
    check_rules(&pdu);
    if let Ok(received) = received {
        check_receipt(&pdu, received);
    }
}

/// An accepted event has one canonical text, from which it can be read again, and two stored ones that make it.
fn check_texts(pdu: &Pdu, input: &[u8]) {
    let version = pdu.version();
    let limits = ParseLimits::event(version.numbers());
    let canonical = CanonicalObject::parse_within(input, limits).expect("an event is a canonical object");
    let json = pdu.to_json();
    assert_eq!(json, canonical.as_bytes(), "the event is another than the one read");
    assert!(json.len() <= MAX_EVENT_BYTES);

    let again = Pdu::parse(version, &json).expect("what was written can be read");
    assert_eq!(&again, pdu);
    assert_eq!(again.content(), pdu.content());
    assert_eq!(again.prev_events(), pdu.prev_events());
    assert_eq!(again.auth_events(), pdu.auth_events());
    assert_eq!(again.depth(), pdu.depth());

    let stored = split(version, &canonical, pdu.event_id().as_str());
    assert_eq!(join(&stored.client_json, &stored.federation_json, pdu.room_id(), version), json);
    assert_eq!(&stored.client_json, pdu.client_json());
    assert_eq!(&stored.federation_json, pdu.federation_json());
    for text in [pdu.client_json(), pdu.federation_json()] {
        serde_json::from_slice::<&serde_json::value::RawValue>(text).expect("stored texts are JSON");
    }
}

/// A redaction leaves a part of the event under the same name, and a second one changes nothing.
fn check_redaction(pdu: &Pdu) {
    let version = pdu.version();
    let redacted = pdu.redacted().expect("an event can be redacted");
    assert_eq!(redacted.event_id(), pdu.event_id());
    assert_eq!(redacted.redacted().as_ref(), Ok(&redacted), "redaction is not idempotent");
    let json = redacted.to_json();
    assert_eq!(json, redact_pdu(version, &pdu.to_json()));
    assert_eq!(json, redact_pdu(version, &json));
    assert_eq!(&redact(version, pdu.client_json())[..], &redacted.client_json()[..]);
    assert_eq!(Pdu::parse(version, &json).as_ref(), Ok(&redacted), "the redacted form is read as another event");
}

/// The rules come to a verdict on anything that is an event.
fn check_rules(pdu: &Pdu) {
    let _ = (pdu.member(), pdu.create(), pdu.power_levels());
    let needed = auth_types_for_event(pdu.version(), pdu.event_type(), pdu.sender(), pdu.state_key(), pdu.content());
    if let Ok(needed) = needed {
        assert!(needed.len() <= room_engine::MAX_AUTH_EVENTS, "more events are needed than may be named");
    }
    let verdict = auth::check(pdu, &AuthState::new());
    assert!(verdict.is_err() || pdu.event_type() == "m.room.create");
    let _ = auth::check(pdu, &AuthState::from_iter([pdu.clone()]));
}

/// Without keys nothing passes but what needs no signature, and what is kept is the event or its redacted form.
fn check_receipt(pdu: &Pdu, received: ReceivedPdu) {
    let kept = received.event().clone();
    assert_eq!(kept.event_id(), pdu.event_id());
    assert!(kept.unsigned().is_none());
    match received.form() {
        Form::Whole => assert!(kept.has_valid_content_hash()),
        Form::Redacted => assert_eq!(kept, pdu.redacted().expect("an event can be redacted")),
    }
    assert_eq!(in_order(vec![kept.clone(), kept.clone()]).events.len(), 1);
    let needs_none = received.needed_signatures().is_empty();
    match received.verify(&KeyRing::new()) {
        Ok(verified) => {
            assert!(needs_none, "an event passed without a key");
            let _ = verified.check_auth_events(|_| None);
        }
        Err(_) => assert!(!needs_none),
    }
}
