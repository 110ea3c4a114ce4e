//! What becomes of an event when it is checked.

/// What became of an event when it was checked.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu>
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is in the room's timeline.
    Accepted,
    /// The state before it allows it, the room's current state did not: it counts for later events, and no client is shown it.
    SoftFailed,
    /// The rules of the room do not allow it. It is kept because others may refer to it, and never becomes part of a state.
    Rejected,
    /// It is part of the room like any other event, but no client is shown it: it only joins branches.
    Hidden,
    /// It was stored because others refer to it, and its place in the room is not known: a state event of another server that its auth
    /// events allow. The state after it is not known either.
    Outlier,
    /// It is in the room's timeline, at a place in the past: this server learned of it after what follows it. No client is told of it
    /// as something new.
    Backfilled,
}

impl Standing {
    /// The number it is stored as.
    #[must_use]
    pub fn code(self) -> i64 {
        match self {
            Self::Accepted => 0,
            Self::SoftFailed => 1,
            Self::Rejected => 2,
            Self::Hidden => 3,
            Self::Outlier => 4,
            Self::Backfilled => 5,
        }
    }

    /// Whether events are built on it.
    #[must_use]
    pub fn is_followed(self) -> bool {
        matches!(self, Self::Accepted | Self::Hidden | Self::Backfilled)
    }

    /// Whether it is in the room's timeline, now or in the past.
    #[must_use]
    pub fn is_in_timeline(self) -> bool {
        matches!(self, Self::Accepted | Self::Backfilled)
    }

    pub(crate) fn from_code(code: i64) -> Option<Self> {
        let all = [Self::Accepted, Self::SoftFailed, Self::Rejected, Self::Hidden, Self::Outlier, Self::Backfilled];
        all.into_iter().find(|it| it.code() == code)
    }
}
