//! What a resolution lacks.

use homeserver_core::EventSn;

use super::StatePlace;
use crate::auth_chain::{ChainNeed, ChainRange};

/// What has to be loaded before a resolution can go on. All parts are independent of each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Need {
    /// Events, for [`Resolution::add_event`](super::Resolution::add_event).
    pub events: Vec<EventSn>,
    /// Events by their positions in the index, for [`Resolution::add_range`](super::Resolution::add_range).
    pub ranges: Vec<ChainRange>,
    /// Places in the state that all have in common, for [`Resolution::add_state`](super::Resolution::add_state).
    pub state: Vec<StatePlace>,
    /// The places of these events in the state that all have in common, for
    /// [`Resolution::add_counterpart`](super::Resolution::add_counterpart).
    pub counterparts: Vec<EventSn>,
    /// Parts of the index, for [`ChainCover`](crate::auth_chain::ChainCover).
    pub chains: ChainNeed,
}

impl Need {
    /// Whether there is nothing to load.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many things there are to load.
    pub fn count(&self) -> usize {
        let chains = self.chains.positions.len() + self.chains.chains.len() + self.chains.citations.len();
        self.events.len() + self.ranges.len() + self.state.len() + self.counterparts.len() + chains
    }

    pub(super) fn tidy(&mut self) {
        self.events.sort_unstable();
        self.events.dedup();
        self.state.sort_unstable();
        self.state.dedup();
    }
}

impl From<ChainNeed> for Box<Need> {
    fn from(chains: ChainNeed) -> Self {
        Self::new(Need { chains, ..Need::default() })
    }
}

/// Why states could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolutionError {
    /// The same was asked for twice without an answer between.
    #[error("{} events or rows that the resolution needs were not loaded, such as {:?}.", .0.count(), .0.events.first())]
    Unanswered(Box<Need>),
    /// The conflicts are not about the same number of states.
    #[error("The conflicts name {found} states in place of {expected}.")]
    UnequalForks {
        /// How many states the first conflict names.
        expected: usize,
        /// How many another one names.
        found: usize,
    },
}
