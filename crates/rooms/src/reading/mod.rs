//! Reading rooms: who may see what, and the history, state and members of rooms.
//!
//! * [`Visibility`] decides for each event whether a user may read it.
//! * `erasure` redacts events of erased users, for readers who joined later.
//! * [`History`] reads timelines: `/messages`, `/context`, `/event`, `/relations`, `/threads`.
//! * [`Bundling`] finds what is told of an event's relations together with it.
//! * [`RoomState`] reads state and members, as they are now or as they were when the user left.
//!
//! Answers are JSON in bytes: stored events are copied, never parsed.

mod access;
mod bundling;
mod context;
mod erasure;
mod fetched;
mod history;
mod members;
mod page;
mod related_by;
mod relations;
mod search;
mod snapshot;
mod state;
mod threads;
mod time;
mod visibility;
mod writing;

pub use bundling::{Bundling, Sight};
pub use context::ContextRequest;
pub use erasure::{Shown, concerns_erased_member, redact_erased, redact_erased_members};
pub use history::History;
pub use members::{MemberQuery, Membership};
pub use page::{Direction, Messages, MessagesRequest};
pub use related_by::related_by;
pub use relations::RelationsRequest;
pub use search::{ContextWish, MAX_CONTEXT, Search, SearchIndexing, SearchRequest};
pub use snapshot::RoomSnapshots;
pub use state::{RoomState, StateFormat};
pub use threads::ThreadsRequest;
pub use time::EventAtTime;
pub use visibility::Visibility;

pub(crate) use fetched::membership_of;
pub(crate) use visibility::visibility_of;
