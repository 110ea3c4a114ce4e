//! Rooms: building events in order, what users do with rooms, and what they may read.
//!
//! [`Timeline`] is the one way by which events get into a room. It keeps the *head* of each active room in memory, builds
//! events on it in order, and submits them to the writer without waiting for the commit of earlier ones, so that many sends
//! into one room share a commit. Begin reading there.
//!
//! [`Memberships`], [`RoomCreation`], [`Sending`], [`Aliases`], [`Directory`] and [`Upgrade`] are what users do with rooms,
//! [`Timeline::receive`] receives events of other servers, [`reading`] is what members see, [`wire`] writes events for
//! clients, [`summaries`] shows rooms to those who are not in them, and [`user_directory`] finds users by the rooms that they are in.
//!
//! # Errors
//!
//! A method that returns [`RoomError`] fails with [`RoomError::Storage`] if the database cannot be read or written, and with
//! [`RoomError::LostLog`] or [`RoomError::Contended`] while other nodes write faster. The methods name what else they refuse.
//!
//! # What is kept in memory, and what bounds it
//!
//! | kept | in the metrics | bounded by | kept up to date by |
//! |---|---|---|---|
//! | heads of rooms | `room_heads` | their share of `caches.memory_budget` | [`Timeline`], and the log of other nodes; the writer refuses events built on an old head |

mod aliases;
mod checking;
mod create;
mod directory;
mod draft;
mod error;
mod guests;
mod head;
mod inheritance;
mod initial_state;
pub mod introduction;
mod inviting_addresses;
pub mod jobs;
mod join_state;
mod member_content;
mod membership;
pub mod mutual_rooms;
mod open_room;
mod proposing;
pub mod reading;
mod receiving;
pub mod remote;
pub mod reports;
mod resolving;
mod restricted_join;
mod search_index;
mod sending;
mod server_acl;
pub mod serving;
mod shown_state;
pub mod summaries;
mod timeline;
mod transaction_id;
mod unread;
mod upgrade;
pub mod user_directory;
pub mod wire;

pub use aliases::Aliases;
pub use checking::{Finding, RoomCheck, RoomReport};
pub use create::{InitialState, NewRoom, Preset, RoomCreation, supported_versions};
pub use directory::{Directory, DirectoryPage, DirectoryQuery, PublicRoom};
pub use draft::Draft;
pub use error::RoomError;
pub use join_state::JoinState;
pub use member_content::ContentMap;
pub use membership::{Memberships, ReportProgress};
pub use open_room::{OpenRoom, Submitted};
pub use proposing::ProposedInvite;
pub use receiving::{
    Backfill, BackfillNeeds, Imported, Missing, OutlierReport, PartialEntry, Reception, RoomImport, ToldState,
    ToldStates,
};
pub use resolving::RoomIdentity;
pub use sending::Sending;
pub use server_acl::ServerAcl;
pub use timeline::{RoomChange, StagedChange, Timeline};
pub use transaction_id::ScopedTransactionId;
pub use upgrade::Upgrade;

pub use room_engine::ErrorKind;
pub use room_engine::auth::AuthError;
