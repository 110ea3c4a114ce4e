//! Places in the index, and its rows.

use homeserver_core::EventSn;

/// A chain of events, named by the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chain(pub EventSn);

/// The place of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainPosition {
    /// The chain that the event belongs to.
    pub chain: Chain,
    /// Its number in the chain, from 1.
    pub seq: u32,
}

/// Neighbouring events of a chain, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainRange {
    /// The chain.
    pub chain: Chain,
    /// The number of the first event.
    pub first: u32,
    /// The number of the last event, at least `first`.
    pub last: u32,
}

impl ChainRange {
    /// How many events there are.
    pub fn count(self) -> u64 {
        u64::from(self.last.saturating_sub(self.first)) + 1
    }
}

/// Where an event was placed. The row is unique by event, and by position; ranges are read by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PositionedEvent {
    /// The event.
    pub event_sn: EventSn,
    /// Its place.
    pub position: ChainPosition,
}

/// The beginning of a chain that branches off another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainStart {
    /// The new chain.
    pub chain: Chain,
    /// The event of the same type and state key that the first event of the chain has among its auth events.
    pub parent: ChainPosition,
}

/// The event at `from`, and with it all that come after it in its chain, have the event at `to` in their auth chain.
///
/// Rows are read by `from.chain`, and the other way round by `to.chain` and `to.seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainLink {
    /// The event whose auth chain it is.
    pub from: ChainPosition,
    /// The last event of another chain that is known to be in it.
    pub to: ChainPosition,
}
