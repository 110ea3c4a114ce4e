//! The kinds of rules.

use std::fmt;

/// A kind of [push rule](https://spec.matrix.org/v1.19/client-server-api/#push-rules). The order is that in which rules
/// are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleKind {
    /// `override`: conditions of the user's choice, before all others.
    Override,
    /// `content`: a pattern in the body of a message.
    Content,
    /// `room`: all events of a room, whose ID is the rule's.
    Room,
    /// `sender`: all events of a user, whose ID is the rule's.
    Sender,
    /// `underride`: conditions of the user's choice, after all others.
    Underride,
}

impl RuleKind {
    /// All kinds, in the order in which they are checked.
    pub const ALL: [Self; 5] = [Self::Override, Self::Content, Self::Room, Self::Sender, Self::Underride];

    /// The kind of that name, as in paths of the API.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The name, as in paths of the API and in account data.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::Content => "content",
            Self::Room => "room",
            Self::Sender => "sender",
            Self::Underride => "underride",
        }
    }
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
