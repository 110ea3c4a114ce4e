//! What can be wrong with the JSON of an event.

/// Why an event or its content cannot be accepted as it is; the text is fit for the client that sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The bytes are not JSON.
    #[error("The JSON is broken at byte {offset}: {reason}.")]
    NotJson {
        /// Bytes before the fault.
        offset: usize,
        /// What was expected or found.
        reason: &'static str,
    },
    /// A JSON value that is no object where an object is needed.
    #[error("`{key}` must be a JSON object.")]
    NotAnObject {
        /// The key, or `content` for the content itself.
        key: &'static str,
    },
    /// A number with a fraction, an exponent, or a negative zero.
    #[error("The number at byte {offset} is not a plain integer; events hold integers only.")]
    NotAnInteger {
        /// Bytes before the number.
        offset: usize,
    },
    /// An integer outside of the canonical range.
    #[error("The integer at byte {offset} is outside of the range -(2^53)+1 to (2^53)-1.")]
    IntegerOutOfRange {
        /// Bytes before the number.
        offset: usize,
    },
    /// Objects and arrays lie too deep inside one another.
    #[error("The JSON is nested deeper than {limit} levels.")]
    TooDeep {
        /// The most levels allowed.
        limit: usize,
    },
    /// The event or one of its keys is too large.
    #[error("`{what}` is {size} bytes long; the limit is {limit}.")]
    TooLarge {
        /// The key, or `event` for the whole PDU.
        what: &'static str,
        /// Its size in bytes, or a lower bound of it where reading stopped early.
        size: usize,
        /// The most bytes allowed.
        limit: usize,
    },
    /// A list has too many entries.
    #[error("`{what}` has {count} entries; the limit is {limit}.")]
    TooMany {
        /// The key.
        what: &'static str,
        /// The number of entries.
        count: usize,
        /// The most entries allowed.
        limit: usize,
    },
    /// A key that every event of this version needs is absent.
    #[error("The key `{key}` is missing.")]
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// A key that events of this version must not have.
    #[error("The key `{key}` must not be there.")]
    ForbiddenKey {
        /// The key.
        key: &'static str,
    },
    /// A value of the wrong type or form.
    #[error("`{key}` must be {expected}.")]
    WrongType {
        /// The key.
        key: &'static str,
        /// What it must be, with its article.
        expected: &'static str,
    },
}

/// The class of an [`EventError`], which decides the Matrix error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// `M_NOT_JSON`.
    NotJson,
    /// `M_BAD_JSON`.
    BadJson,
    /// `M_TOO_LARGE`.
    TooLarge,
}

impl EventError {
    /// The class of this error.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotJson { .. } => ErrorKind::NotJson,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::NotAnObject { .. }
            | Self::NotAnInteger { .. }
            | Self::IntegerOutOfRange { .. }
            | Self::TooDeep { .. }
            | Self::TooMany { .. }
            | Self::MissingKey { .. }
            | Self::ForbiddenKey { .. }
            | Self::WrongType { .. } => ErrorKind::BadJson,
        }
    }
}
