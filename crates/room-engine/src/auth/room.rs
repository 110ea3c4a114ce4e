//! A room as the rules for one event see it.

use ruma::{UserId, room_version_rules::AuthorizationRules};

use super::{AuthError, PowerLevels, StateLookup};
use crate::{CreateContent, JoinRule, Membership, Pdu};

/// The state of a room that has a create event.
pub(super) struct Room<'a, S: ?Sized> {
    rules: &'static AuthorizationRules,
    create: &'a Pdu,
    create_content: &'a CreateContent,
    state: &'a S,
}

impl<'a, S: StateLookup + ?Sized> Room<'a, S> {
    pub(super) fn new(event: &Pdu, state: &'a S) -> Result<Self, AuthError> {
        let create = state.get("m.room.create", "").ok_or(AuthError::NoCreateEvent)?;
        let create_content = create.create()?;
        Ok(Self { rules: &event.version().rules().authorization, create, create_content, state })
    }

    pub(super) fn rules(&self) -> &'static AuthorizationRules {
        self.rules
    }

    pub(super) fn create(&self) -> &'a Pdu {
        self.create
    }

    pub(super) fn create_content(&self) -> &'a CreateContent {
        self.create_content
    }

    pub(super) fn power_levels_event(&self) -> Option<&'a Pdu> {
        self.state.get("m.room.power_levels", "")
    }

    pub(super) fn third_party_invite(&self, token: &str) -> Option<&'a Pdu> {
        self.state.get("m.room.third_party_invite", token)
    }

    pub(super) fn power_levels(&self) -> Result<PowerLevels, AuthError> {
        PowerLevels::new(self.create, self.power_levels_event())
    }

    /// Users without a member event have left, or were never there.
    pub(super) fn membership(&self, user: &UserId) -> Membership {
        let event = self.state.get("m.room.member", user.as_str());
        event.and_then(Pdu::membership).unwrap_or(Membership::Leave)
    }

    pub(super) fn is_joined(&self, user: &UserId) -> bool {
        self.membership(user) == Membership::Join
    }

    pub(super) fn join_rule(&self) -> JoinRule {
        JoinRule::of_content(self.state.get("m.room.join_rules", "").map(Pdu::content))
    }
}
