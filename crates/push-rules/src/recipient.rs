//! The recipient of an event.

use crate::{
    CompiledRules, Glob, MAX_PATTERN_BYTES, PreparedEvent, Scalar,
    defaults::{DefaultRule, DefaultRules},
};

/// A display name, ready to be looked for in messages.
#[derive(Debug, Clone)]
pub struct DisplayName(Glob);

impl DisplayName {
    /// A user's display name in a room. `None` for one that is empty, or too long to be written in a message.
    pub fn new(name: &str) -> Option<Self> {
        (1..=MAX_PATTERN_BYTES).contains(&name.len()).then(|| Self(Glob::literal(name)))
    }

    /// Whether an event's body has the name in it.
    pub(crate) fn is_in(&self, event: &PreparedEvent<'_>) -> bool {
        event.body().is_some_and(|body| self.0.is_in(body))
    }

    /// The hash of a word that every body with the name has.
    pub(crate) const fn word(&self) -> Option<u64> {
        self.0.word()
    }
}

/// The user for whom an event is evaluated.
#[derive(Debug, Clone, Copy)]
pub struct Recipient<'u> {
    /// The user's ID.
    pub user_id: &'u str,
    /// The user's display name in the room, if the user's rules [ask for it](CompiledRules::asks_display_name).
    pub display_name: Option<&'u DisplayName>,
}

/// The relation of an event to a user: the input of the evaluation besides the rules and the event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    mentioned: bool,
    invited: bool,
    named: bool,
}

impl Facts {
    /// An event that does not name the user.
    pub(crate) const NONE: Self = Self { mentioned: false, invited: false, named: false };

    /// The relation of an event to a user; `None` if the user sent it.
    pub(crate) fn of(rules: &CompiledRules, event: &PreparedEvent<'_>, recipient: &Recipient<'_>) -> Option<Self> {
        if event.sender() == Some(recipient.user_id) {
            return None;
        }
        let mentions = event.mentions();
        let mentioned = !mentions.is_empty() && mentions.binary_search(&Scalar::Text(recipient.user_id.into())).is_ok();
        let invited = event.invited().is_some_and(|invited| invited == recipient.user_id);
        let name = recipient.display_name.filter(|_| rules.asks_display_name());
        Some(Self { mentioned, invited, named: name.is_some_and(|name| name.is_in(event)) })
    }

    pub(crate) const fn named(self) -> bool {
        self.named
    }

    /// The default rules that match for the user.
    pub(crate) const fn matching(self, mut defaults: DefaultRules) -> DefaultRules {
        if !self.mentioned {
            defaults = defaults.without(DefaultRule::IS_USER_MENTION);
        }
        if !self.invited {
            defaults = defaults.without(DefaultRule::INVITE_FOR_ME);
        }
        defaults
    }
}
