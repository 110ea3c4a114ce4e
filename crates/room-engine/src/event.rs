//! Events: parsing, building, naming, and the two JSON texts that are stored of each.

mod builder;
mod fields;
mod hash;
mod pdu;
mod signing;
mod stored;
mod template;

pub use builder::{BuiltEvent, EventBuilder};
pub(crate) use hash::reference_hash;
pub use pdu::{EventReference, Pdu};
pub use stored::{StoredJson, join, split};
pub use template::EventTemplate;

#[cfg(test)]
pub(crate) mod tests;
