//! The same rules and events, evaluated by ruma.

use std::{
    collections::BTreeMap,
    pin::pin,
    task::{Context, Poll, Waker},
};

use proptest::prelude::*;
use ruma::{
    Int, UInt, UserId,
    events::AnySyncTimelineEvent,
    push::{PushConditionPowerLevelsCtx, PushConditionRoomCtx},
    room_version_rules::{AuthorizationRules, RoomPowerLevelsRules},
    serde::Raw,
};
use serde_json::{Value, json};

use super::{
    generated::{events, rulesets, worlds},
    world::{ALICE, Found, World},
};
use crate::{Ruleset, SenderPower};

/// The result of a future that waits for nothing.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future waits"),
    }
}

fn their_context(world: &World, event: &Value) -> PushConditionRoomCtx {
    let SenderPower::Level(power) = world.sender_power else { panic!("creators are not compared") };
    let user_id = UserId::parse(ALICE).unwrap();
    let count = UInt::try_from(world.member_count).unwrap();
    let name = world.display_name.to_owned();
    let sender = UserId::parse(event["sender"].as_str().unwrap()).unwrap();
    let levels = PushConditionPowerLevelsCtx::new(
        BTreeMap::from([(sender, Int::try_from(power).unwrap())]),
        Int::from(0),
        serde_json::from_value(json!(world.notifications)).unwrap(),
        RoomPowerLevelsRules::new(&AuthorizationRules::V11, None),
    );
    PushConditionRoomCtx::new(world.room_id.try_into().unwrap(), count, user_id, name).with_power_levels(levels)
}

fn their_evaluation(ruleset: &Ruleset, world: &World, event: &Value) -> Option<Found> {
    let rules = serde_json::to_value(ruleset.for_client(ALICE)).unwrap();
    let rules: ruma::push::Ruleset = serde_json::from_value(rules).unwrap();
    let raw: Raw<AnySyncTimelineEvent> = Raw::from_json_string(event.to_string()).unwrap();
    let found = now(rules.get_match(&raw, &their_context(world, event)))?;
    Some((
        found.rule_id().to_owned(),
        found.triggers_notification(),
        found.triggers_highlight(),
        found.triggers_sound().map(ToString::to_string),
    ))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn the_same_rule_matches_with_the_same_outcome(ruleset in rulesets(), event in events(), world in worlds()) {
        prop_assert_eq!(world.evaluate(&ruleset, &event), their_evaluation(&ruleset, &world, &event));
    }
}
