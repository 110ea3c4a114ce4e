//! The same, evaluated by ruma.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use ruma::{
    Int, UserId,
    events::AnySyncTimelineEvent,
    push::{self, FlattenedJson, PushConditionPowerLevelsCtx, PushConditionRoomCtx},
    room_version_rules::{AuthorizationRules, RoomPowerLevelsRules},
    serde::Raw,
};

use crate::rules::ROOM;

/// A user with ruma's form of the rules.
pub(crate) struct Theirs {
    pub(crate) rules: push::Ruleset,
    pub(crate) context: PushConditionRoomCtx,
}

impl Theirs {
    pub(crate) fn new(ours: &push_rules::Ruleset, user_id: &str, member_count: u32) -> Self {
        let rules = serde_json::to_value(ours.for_client(user_id)).unwrap();
        let user_id = UserId::parse(user_id).unwrap();
        let levels = PushConditionPowerLevelsCtx::new(
            std::collections::BTreeMap::new(),
            Int::from(0),
            Default::default(),
            RoomPowerLevelsRules::new(&AuthorizationRules::V11, None),
        );
        let name = user_id.localpart().to_owned();
        let context = PushConditionRoomCtx::new(ROOM.try_into().unwrap(), member_count.into(), user_id, name);
        Self { rules: serde_json::from_value(rules).unwrap(), context: context.with_power_levels(levels) }
    }

    /// Whether the event notifies, by the interface for it.
    pub(crate) fn notifies(&self, event: &Raw<AnySyncTimelineEvent>) -> bool {
        now(self.rules.get_match(event, &self.context)).is_some_and(|rule| rule.triggers_notification())
    }

    /// Whether an event that was read before notifies.
    pub(crate) fn notifies_flattened(&self, event: &FlattenedJson) -> bool {
        let found = self.rules.iter().find(|rule| now(rule.applies(event, &self.context)));
        found.is_some_and(|rule| rule.triggers_notification())
    }
}

pub(crate) fn raw(json: &str) -> Raw<AnySyncTimelineEvent> {
    Raw::from_json_string(json.to_owned()).unwrap()
}

/// The result of a future that waits for nothing.
fn now<T: Default>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => T::default(),
    }
}
