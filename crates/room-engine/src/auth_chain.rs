//! An index of the auth chains of a room: a chain cover.
//!
//! Every event that is in some [auth chain](https://spec.matrix.org/v1.19/rooms/v12/#definitions) belongs to one
//! [`Chain`], in which each event has the one before it among its auth events. Where an event has further auth events,
//! a [`ChainLink`] says how far into another chain it reaches. An auth chain is then not a set of events but one number
//! for each chain, and what two of them differ in is a [`ChainRange`] for each chain.
//!
//! Chains follow the state: an event continues the chain of the event that it replaces, the auth event with its own
//! type and state key, so a chain is the history of one piece of state. Links that follow from others nearby are left
//! out, so that there are about as many as events.
//!
//! # Rows
//!
//! [`ChainCover`] holds as much of the index as was loaded. [`ChainCover::insert`] gives the rows that new events add;
//! whatever is asked of a part that is not there answers with a [`ChainNeed`], and is asked again with the rows of that
//! loaded. It does no harm to load more than was asked for: one recursive query that brings every link below a chain
//! replaces one round for each level.

mod citations;
mod cover;
mod insert;
mod paths;
mod position;
mod walk;

pub use cover::{ChainCover, ChainNeed, LoadedChain};
pub use insert::{IndexedEvent, NewRows};
pub use paths::paths_between;
pub use position::{Chain, ChainLink, ChainPosition, ChainRange, ChainStart, PositionedEvent};
pub use walk::AuthChainWalk;

pub(crate) use citations::{CitationSearch, Counterparts};

#[cfg(test)]
pub(crate) mod tests;
