use homeserver_core::{KeySn, TypeSn};

/// A place in the state of a room: an event type and a state key. At most one event is there.
///
/// Places are ordered by type first, so that all events of one type lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The event type.
    pub event_type: TypeSn,
    /// The state key.
    pub state_key: KeySn,
}

impl Place {
    /// The place of that type and key.
    pub const fn new(event_type: TypeSn, state_key: KeySn) -> Self {
        Self { event_type, state_key }
    }

    /// The first and the last place that events of a type can have.
    pub(super) const fn all_of(event_type: TypeSn) -> (Self, Self) {
        (Self::new(event_type, KeySn(i64::MIN)), Self::new(event_type, KeySn(i64::MAX)))
    }

    /// A number that is spread evenly over all 64-bit integers, whichever places a room has.
    ///
    /// State keys are numbered in the order in which the server learns of them, so somebody who makes many of them knows
    /// roughly which numbers they have. Two rounds of a mixer in which every bit of the input turns half of the bits of
    /// the output keep that from showing in the shape of the map.
    pub(super) const fn scattered(self) -> u64 {
        mix(mix(self.event_type.0.cast_unsigned()) ^ self.state_key.0.cast_unsigned())
    }
}

/// The finaliser of SplitMix64.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
