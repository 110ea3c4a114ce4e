//! The rules that every user has.

use std::borrow::Cow;

use crate::{
    Action, Condition, MemberCountIs, Rule, RuleKind, RuleTest, Scalar,
    condition::Condition::{
        EventMatch, EventMatchOwnId, EventPropertyContainsOwnId, EventPropertyIs, RoomMemberCount,
        SenderNotificationPermission,
    },
    member_count::Comparison,
};

/// A rule of [the specification's list](https://spec.matrix.org/v1.19/client-server-api/#predefined-rules), as its place in
/// [`DefaultRule::all`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefaultRule(u8);

const NOTIFY: Action = Action::Notify;
const HIGHLIGHT: Action = Action::Highlight(None);
const DEFAULT_SOUND: Action = Action::Sound(Cow::Borrowed("default"));

/// A rule as a constant: when all of the conditions hold, these actions.
macro_rules! rule {
    ($id:literal, [$($condition:expr),*], [$($action:expr),*]) => {
        Rule {
            id: Cow::Borrowed($id),
            enabled: true,
            test: RuleTest::Conditions(Cow::Borrowed(const { &[$($condition),*] })),
            actions: Cow::Borrowed(const { &[$($action),*] }),
        }
    };
}

const fn matches(key: &'static str, pattern: &'static str) -> Condition {
    EventMatch { key: Cow::Borrowed(key), pattern: Cow::Borrowed(pattern) }
}

const fn is(key: &'static str, value: Scalar<'static>) -> Condition {
    EventPropertyIs { key: Cow::Borrowed(key), value }
}

const OF_TWO: Condition = RoomMemberCount(MemberCountIs { comparison: Comparison::Equal, count: 2 });
const MEMBER: Condition = matches("type", "m.room.member");
const MESSAGE: Condition = matches("type", "m.room.message");
const ENCRYPTED: Condition = matches("type", "m.room.encrypted");
const EMPTY_STATE_KEY: Condition = matches("state_key", "");

/// How many of the rules are override rules; the others are underride rules.
const OVERRIDES: usize = 10;

/// How many rules there are.
const RULE_COUNT: usize = 15;

static RULES: [Rule; RULE_COUNT] = [
    Rule {
        id: Cow::Borrowed(".m.rule.master"),
        enabled: false,
        test: RuleTest::Conditions(Cow::Borrowed(&[])),
        actions: Cow::Borrowed(&[]),
    },
    rule!(".m.rule.suppress_notices", [matches("content.msgtype", "m.notice")], []),
    rule!(
        ".m.rule.invite_for_me",
        [MEMBER, matches("content.membership", "invite"), EventMatchOwnId { key: Cow::Borrowed("state_key") }],
        [NOTIFY, DEFAULT_SOUND]
    ),
    rule!(".m.rule.member_event", [MEMBER], []),
    rule!(
        ".m.rule.is_user_mention",
        [EventPropertyContainsOwnId { key: Cow::Borrowed(r"content.m\.mentions.user_ids") }],
        [NOTIFY, DEFAULT_SOUND, HIGHLIGHT]
    ),
    rule!(
        ".m.rule.is_room_mention",
        [
            is(r"content.m\.mentions.room", Scalar::Bool(true)),
            SenderNotificationPermission { key: Cow::Borrowed("room") }
        ],
        [NOTIFY, HIGHLIGHT]
    ),
    rule!(".m.rule.tombstone", [matches("type", "m.room.tombstone"), EMPTY_STATE_KEY], [NOTIFY, HIGHLIGHT]),
    rule!(".m.rule.reaction", [matches("type", "m.reaction")], []),
    rule!(".m.rule.room.server_acl", [matches("type", "m.room.server_acl"), EMPTY_STATE_KEY], []),
    rule!(
        ".m.rule.suppress_edits",
        [is(r"content.m\.relates_to.rel_type", Scalar::Text(Cow::Borrowed("m.replace")))],
        []
    ),
    rule!(".m.rule.call", [matches("type", "m.call.invite")], [NOTIFY, Action::Sound(Cow::Borrowed("ring"))]),
    rule!(".m.rule.encrypted_room_one_to_one", [OF_TWO, ENCRYPTED], [NOTIFY, DEFAULT_SOUND]),
    rule!(".m.rule.room_one_to_one", [OF_TWO, MESSAGE], [NOTIFY, DEFAULT_SOUND]),
    rule!(".m.rule.message", [MESSAGE], [NOTIFY]),
    rule!(".m.rule.encrypted", [ENCRYPTED], [NOTIFY]),
];

impl DefaultRule {
    /// `.m.rule.master`, which is above all other rules, those of the user included.
    pub(crate) const MASTER: Self = Self(0);
    /// `.m.rule.invite_for_me`.
    pub(crate) const INVITE_FOR_ME: Self = Self(2);
    /// `.m.rule.is_user_mention`.
    pub(crate) const IS_USER_MENTION: Self = Self(4);

    /// All default rules: the override rules, then the underride rules, each in the order in which they are checked.
    pub fn all() -> impl ExactSizeIterator<Item = (Self, &'static Rule)> + Clone {
        RULES.iter().enumerate().map(|(place, rule)| {
            #[expect(clippy::cast_possible_truncation, reason = "there are 15 rules")]
            let place = place as u8;
            (Self(place), rule)
        })
    }

    /// The default rule of that kind and ID.
    pub fn find(kind: RuleKind, id: &str) -> Option<Self> {
        Self::all().find(|(default, rule)| default.kind() == kind && rule.id == id).map(|(default, _)| default)
    }

    /// Its kind.
    pub const fn kind(self) -> RuleKind {
        if (self.0 as usize) < OVERRIDES { RuleKind::Override } else { RuleKind::Underride }
    }

    /// The rule as the specification has it.
    pub fn rule(self) -> &'static Rule {
        let [first, ..] = &RULES;
        RULES.get(usize::from(self.0)).unwrap_or(first)
    }
}

/// The default rules of a kind, in the order in which they are checked.
pub(crate) fn default_rules(kind: RuleKind) -> impl Iterator<Item = DefaultRule> {
    DefaultRule::all().map(|(default, _)| default).filter(move |default| default.kind() == kind)
}

/// A set of default rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DefaultRules(u16);

impl DefaultRules {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const OVERRIDES: Self = Self((1 << OVERRIDES) - 1);
    pub(crate) const UNDERRIDES: Self = Self(Self::ALL.0 & !Self::OVERRIDES.0);
    /// Those that are enabled where the user changed nothing.
    pub(crate) const ENABLED: Self = Self::ALL.without(DefaultRule::MASTER);
    const ALL: Self = Self((1 << RULE_COUNT) - 1);

    pub(crate) const fn of(rule: DefaultRule) -> Self {
        Self(1 << rule.0)
    }

    pub(crate) const fn with(self, rule: DefaultRule) -> Self {
        Self(self.0 | Self::of(rule).0)
    }

    pub(crate) const fn without(self, rule: DefaultRule) -> Self {
        Self(self.0 & !Self::of(rule).0)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn has(self, rule: DefaultRule) -> bool {
        self.0 & Self::of(rule).0 != 0
    }
}

impl Iterator for DefaultRules {
    type Item = DefaultRule;

    fn next(&mut self) -> Option<DefaultRule> {
        let place = u8::try_from(self.0.trailing_zeros()).ok().filter(|_| self.0 != 0)?;
        self.0 &= self.0 - 1;
        Some(DefaultRule(place))
    }
}
