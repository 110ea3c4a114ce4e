//! State resolution: the state of a room where branches merge.
//!
//! [`Resolution`] decides it for rooms of every version: by the algorithm of
//! [version 1](https://spec.matrix.org/v1.19/rooms/v1/#state-resolution), that of
//! [versions 2 to 11](https://spec.matrix.org/v1.19/rooms/v2/#state-resolution), or that of
//! [version 12](https://spec.matrix.org/v1.19/rooms/v12/#state-resolution).
//!
//! It takes the conflicted state as [`Conflict`]s and returns the resolved state as [`Change`]s. The unconflicted state may be
//! large, so only single keys of it are requested. Auth chains come from the index of [`auth_chain`](crate::auth_chain).
//!
//! # Loading
//!
//! Nothing is loaded here. [`Resolution::step`] continues as far as it can and requests the missing events by a [`Need`], in few
//! large batches: the caller loads them, adds them and steps again.
//!
//! ```text
//! loop {
//!     match resolution.step(&cover)? {
//!         ResolutionStep::Load(need) => { /* cover.add_…, resolution.add_… */ }
//!         ResolutionStep::Done(changes) => break changes,
//!     }
//! }
//! ```
//!
//! # What implementations do where the text is open
//!
//! - The events of a state count as part of its auth chains, so that an event in all states is never in the auth
//!   difference.
//! - A rejected event may keep or win a place in the state, but authorises nothing.
//! - Auth chains of power events are followed within the full conflicted set.
//! - In rooms of version 1, where none of the rivals for a name or topic is allowed, the oldest stays.

mod auth_checks;
mod conflict;
mod driver;
mod full_set;
mod mainline;
mod need;
mod power_order;
mod records;
mod table;
mod v1;

pub use conflict::{Change, Conflict, ResolutionEvent, StatePlace};
pub use driver::{Resolution, ResolutionStep};
pub use need::{Need, ResolutionError};

#[cfg(test)]
mod tests;
