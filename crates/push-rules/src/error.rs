//! What can be wrong with rules, and with changes of them.

use crate::RuleKind;

/// Why rules cannot be read or changed; the text is fit for the client that asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// There is no such rule.
    #[error("There is no {kind} rule `{id}`.")]
    UnknownRule {
        /// The kind that was asked for.
        kind: RuleKind,
        /// The ID that was asked for.
        id: String,
    },
    /// A default rule cannot be deleted, only disabled.
    #[error("`{id}` is a default rule; it can be disabled, but not deleted.")]
    DefaultRule {
        /// The rule.
        id: String,
    },
    /// An ID with a dot in front is one of a default rule.
    #[error("The rule ID `{id}` begins with a dot; such IDs are those of default rules.")]
    ReservedId {
        /// The ID.
        id: String,
    },
    /// An ID that no rule may have.
    #[error("A rule ID must have 1 to {limit} bytes, and neither slashes nor backslashes.", limit = crate::MAX_RULE_ID_BYTES)]
    InvalidId,
    /// The rule of `before` or `after` does not exist.
    #[error("before/after rule not found: {id}")]
    UnknownNeighbour {
        /// The ID that was named.
        id: String,
    },
    /// The rule of `before` or `after` is a default rule.
    #[error("A rule cannot be placed relative to the default rule `{id}`.")]
    DefaultNeighbour {
        /// The ID that was named.
        id: String,
    },
    /// Text that is not JSON.
    #[error("The push rules are not JSON: {reason}.")]
    NotJson {
        /// What the parser says.
        reason: String,
    },
    /// JSON that is no rule.
    #[error("`{key}` must be {expected}.")]
    Malformed {
        /// The key.
        key: &'static str,
        /// What it must be, with its article.
        expected: &'static str,
    },
    /// More of something than the limit.
    #[error("Push rules can have no more than {limit} {what}.")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The most that is allowed.
        limit: usize,
    },
}

/// The class of a [`RuleError`], which decides the Matrix error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleErrorKind {
    /// `M_NOT_FOUND`, with 404.
    NotFound,
    /// `M_INVALID_PARAM`, with 400.
    InvalidParam,
    /// `M_UNKNOWN`, with 400: the code of the specification's example for `before` and `after`.
    Unknown,
    /// `M_NOT_JSON`, with 400.
    NotJson,
    /// `M_BAD_JSON`, with 400.
    BadJson,
    /// `M_TOO_LARGE`, with 413.
    TooLarge,
}

impl RuleError {
    /// The class of this error.
    pub const fn kind(&self) -> RuleErrorKind {
        match self {
            Self::UnknownRule { .. } => RuleErrorKind::NotFound,
            Self::DefaultRule { .. } | Self::ReservedId { .. } | Self::InvalidId => RuleErrorKind::InvalidParam,
            Self::UnknownNeighbour { .. } | Self::DefaultNeighbour { .. } => RuleErrorKind::Unknown,
            Self::NotJson { .. } => RuleErrorKind::NotJson,
            Self::Malformed { .. } => RuleErrorKind::BadJson,
            Self::TooMany { .. } => RuleErrorKind::TooLarge,
        }
    }
}
