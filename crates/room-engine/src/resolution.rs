//! State resolution: which state holds where branches of a room meet.
//!
//! [`Resolution`] decides it for rooms of every version: by the algorithm of
//! [version 1](https://spec.matrix.org/v1.19/rooms/v1/#state-resolution), that of
//! [versions 2 to 11](https://spec.matrix.org/v1.19/rooms/v2/#state-resolution), or that of
//! [version 12](https://spec.matrix.org/v1.19/rooms/v12/#state-resolution).
//!
//! It is given what the states do not agree on, as [`Conflict`]s, and gives back what becomes of that, as [`Change`]s.
//! The rest of the state, on which all agree, may be large and is only asked for single keys. Auth chains are not passed
//! either; they come from the index of [`auth_chain`](crate::auth_chain).
//!
//! # Loading
//!
//! Nothing is loaded here. [`Resolution::step`] goes as far as it can and says in a [`Need`] what it lacks, in as few and
//! as large batches as it can: the caller loads that, hands it over and steps again.
//!
//! ```text
//! loop {
//!     match resolution.step(&cover)? {
//!         Step::Load(need) => { /* cover.add_…, resolution.add_… */ }
//!         Step::Done(changes) => break changes,
//!     }
//! }
//! ```
//!
//! # Where implementations agree and the text is open
//!
//! - The events of a state count as part of its auth chains, so that what all states have is never in the auth
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

pub use conflict::{Change, Conflict, ResolutionEvent, StateKey};
pub use driver::{Resolution, Step};
pub use need::{Need, ResolutionError};

#[cfg(test)]
mod tests;
