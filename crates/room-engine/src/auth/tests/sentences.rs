//! What refused senders are told, and what ruma does not decide.

use ruma::UserId;
use serde_json::json;

use super::room::{ALICE, BOB, CAROL, CREATOR, TestRoom};
use crate::{
    CanonicalObject, Numbers, PowerLevelsContent, RoomVersion,
    auth::{AuthError, PowerLevel, PowerLevels, check, may_redact},
};

fn room() -> TestRoom {
    let mut room =
        TestRoom::public(RoomVersion::V11, &json!({ "users": { CREATOR: 100, ALICE: 50, BOB: 50 }, "ban": 60 }));
    for user in [ALICE, BOB, CAROL] {
        room.join(user);
    }
    room
}

#[test]
fn a_refusal_names_the_level_that_is_missing() {
    let room = room();
    let told = |sender, event_type, key, content| room.refusal(sender, event_type, Some(key), &content);
    assert_eq!(told(CAROL, "m.room.name", "", json!({})), "You need power level 50 to send m.room.name, and have 0.");
    assert_eq!(
        told(ALICE, "m.room.member", CAROL, json!({ "membership": "ban" })),
        "You need power level 60 to ban, and have 50."
    );
    assert_eq!(
        told(ALICE, "m.room.member", BOB, json!({ "membership": "leave" })),
        "You cannot kick @bob:two, whose power level 50 is not below yours, 50."
    );
    assert_eq!(
        told(ALICE, "m.room.power_levels", "", json!({ "users": { CREATOR: 100, ALICE: 50, BOB: 50 } })),
        "You cannot change ban from or to power level 60, because you have 50."
    );
    assert_eq!(
        told(ALICE, "m.room.power_levels", "", json!({ "users": { CREATOR: 100, ALICE: 50 }, "ban": 60 })),
        "You cannot change the power level of @bob:two, 50, because it is not below yours, 50."
    );
}

#[test]
fn a_refusal_says_what_is_wrong_with_a_membership() {
    let mut room = room();
    let told = |room: &TestRoom, sender, key, membership| {
        room.refusal(sender, "m.room.member", Some(key), &json!({ "membership": membership }))
    };
    assert_eq!(told(&room, ALICE, CAROL, "join"), "You cannot join a room for someone else.");
    assert_eq!(told(&room, ALICE, CAROL, "invite"), "@carol:two is already in the room.");
    assert_eq!(told(&room, ALICE, ALICE, "knock"), "This room does not allow knocking.");
    room.put(CREATOR, "m.room.member", CAROL, json!({ "membership": "ban" }));
    assert_eq!(told(&room, CAROL, CAROL, "join"), "@carol:two is banned from this room.");
    room.put(CREATOR, "m.room.member", CAROL, json!({ "membership": "leave" }));
    room.put(CREATOR, "m.room.join_rules", "", json!({ "join_rule": "restricted" }));
    assert_eq!(
        told(&room, CAROL, CAROL, "join"),
        "You are not invited to this room, and no member vouches for your joining by another room."
    );
}

#[test]
fn a_room_without_join_rules_is_for_the_invited() {
    let mut room = TestRoom::new(RoomVersion::V11, json!({}));
    room.join(CREATOR);
    let join = json!({ "membership": "join" });
    assert_eq!(room.check(ALICE, "m.room.member", Some(ALICE), &join), Err(AuthError::NotInvited));
    room.put(CREATOR, "m.room.member", ALICE, json!({ "membership": "invite" }));
    assert_eq!(room.check(ALICE, "m.room.member", Some(ALICE), &join), Ok(()));
}

#[test]
fn creators_of_version_12_outrank_everyone_and_each_other_not() {
    let mut room = TestRoom::new(RoomVersion::V12, json!({ "additional_creators": [ALICE] }));
    room.join(CREATOR);
    room.put(CREATOR, "m.room.power_levels", "", json!({ "users": { BOB: 1000 } }));
    for user in [ALICE, BOB] {
        room.join(user);
    }
    let levels = PowerLevels::of_state(&room.state).unwrap();
    assert_eq!(levels.user_level(<&UserId>::try_from(ALICE).unwrap()), PowerLevel::Infinite);
    let ban = json!({ "membership": "ban" });
    assert_eq!(room.check(ALICE, "m.room.member", Some(BOB), &ban), Ok(()));
    assert!(room.check(BOB, "m.room.member", Some(ALICE), &ban).is_err());
    assert!(room.check(ALICE, "m.room.member", Some(CREATOR), &ban).is_err());
    assert_eq!(
        room.refusal(BOB, "m.room.power_levels", Some(""), &json!({ "users": { BOB: 1000, ALICE: 1 } })),
        "@alice:one created this room and cannot be given a power level."
    );
}

#[test]
fn a_create_event_keeps_the_rules_of_its_version() {
    let mut room = TestRoom::new(RoomVersion::V12, json!({}));
    assert_eq!(check(&room.create, &room.state), Ok(()));
    room = TestRoom::new(RoomVersion::V12, json!({ "additional_creators": ["alice"] }));
    assert_eq!(check(&room.create, &room.state), Err(AuthError::MalformedAdditionalCreators));
    room = TestRoom::new(RoomVersion::V11, json!({ "additional_creators": ["alice"] }));
    assert_eq!(check(&room.create, &room.state), Ok(()));
    let later = room.event(CREATOR, "m.room.create", Some(""), &json!({}));
    assert_eq!(check(&later, &room.state), Err(AuthError::CreateHasPrevEvents));
    let create = |sender, content| room.event_after(&[], sender, "m.room.create", Some(""), &content);
    assert_eq!(check(&create(BOB, json!({})), &room.state), Err(AuthError::CreateForOtherServer));
    assert_eq!(
        check(&create(CREATOR, json!({ "room_version": "0" })), &room.state),
        Err(AuthError::CreateOfUnknownVersion)
    );
    room = TestRoom::new(RoomVersion::V10, json!({}));
    let without_creator = room.event_after(&[], CREATOR, "m.room.create", Some(""), &json!({}));
    assert_eq!(check(&without_creator, &room.state), Err(AuthError::CreateWithoutCreator));
}

#[test]
fn a_redaction_takes_effect_by_level_or_by_server() {
    let levels = PowerLevels::of_state(&room().state).unwrap();
    let may = |sender, redacted| {
        may_redact(&levels, <&UserId>::try_from(sender).unwrap(), <&UserId>::try_from(redacted).unwrap())
    };
    assert!(may(ALICE, CAROL));
    assert!(may(CAROL, BOB));
    assert!(!may(CAROL, ALICE));
}

#[test]
fn levels_of_old_rooms_may_be_strings() {
    let levels = json!({ "users": { ALICE: " +050 " }, "ban": "-1" });
    let room = TestRoom::public(RoomVersion::V9, &levels);
    let parsed = PowerLevels::of_state(&room.state).unwrap();
    assert_eq!(parsed.user_level(<&UserId>::try_from(ALICE).unwrap()), PowerLevel::Finite(50));
    assert_eq!(parsed.ban(), -1);
    let room = TestRoom::public(RoomVersion::V10, &levels);
    assert_eq!(PowerLevels::of_state(&room.state).unwrap_err(), AuthError::MalformedPowerLevels { property: "ban" });
}

#[test]
fn levels_of_the_oldest_rooms_lose_what_is_behind_the_point() {
    let parse = |level: &str| {
        let content = CanonicalObject::parse(format!("{{\"ban\":{level}}}").as_bytes(), Numbers::Lenient).unwrap();
        PowerLevelsContent::parse(RoomVersion::V5, &content).map(|levels| levels.ban)
    };
    // https://spec.matrix.org/v1.19/rooms/v5/#mroompower_levels-events-accept-values-as-floats
    for (level, expected) in [("50.57", 50), ("5.114698E4", 51146), ("-50.57", -50), ("1e2", 100), ("-0.5", 0)] {
        assert_eq!(parse(level), Ok(Some(expected)), "{level}");
    }
    for level in ["1e300", "\"50.5\"", "\"1e2\"", "\"\"", "\"+-1\"", "\"+\"", "true", "null", "[]", "{}"] {
        assert_eq!(parse(level), Err(AuthError::MalformedPowerLevels { property: "ban" }), "{level}");
    }
}
