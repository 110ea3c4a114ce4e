//! What handlers take: each extractor checks its part of a request and answers with a Matrix error if it is bad.

mod authenticated;
pub(crate) mod body;
mod client_address;
mod form;
pub(crate) mod json;
mod names;
mod own_user;
mod path;
mod query;
mod scan;
mod unsuspended;

pub use accounts::object::Object;
pub use authenticated::{Administrator, AskedBy, Authenticated, GuestOrUser, LockedOrNot, OptionalAuthenticated};
pub use client_address::{ClientAddress, PeerAddress, TrustedProxies};
pub(crate) use form::form;
pub use json::{Content, DEFAULT_LIMIT_BYTES, Json, json_bytes};
pub use names::{EventType, StateKey, TransactionId};
pub use own_user::OwnUser;
pub use path::Path;
pub use query::Query;
pub use unsuspended::Unsuspended;
