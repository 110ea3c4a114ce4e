//! The homeserver's memory: the statements of every domain, one module for each, over the engines of the crate `database`.
//!
//! Begin with [`Database`], which reads and takes writes, and [`Tx`], on which a write runs. The module of a domain gives them methods, so
//! a new table gets a migration in `migrations`, and a module with its statements.
//!
//! * Events are handed over with [`Database::append`]; the module `append` writes everything that follows from them in the same
//!   transaction.
//! * A write that happens often is a variant of `frequent::Frequent`, which a batch writes with a few statements. Everything else is a
//!   closure for [`Database::write`].
//! * What a transaction [publishes](Tx::publish) is a [`LogEntry`], which the [`LogObserver`]s of every process are told of.
//! * The module `homeserver` tells the engines what they have to know of all this; `writer_memory` is what the writer remembers from one
//!   transaction to the next.
//! * A [`Lease`] is held by one node at a time; [`Tx::require_lease`] keeps its former holders from writing.
//! * [`RoomStates`] knows for which rooms the whole state is known; reads that need it take a [`FullState`].
//! * [`ChunkCollector`] removes the parts of rooms' states that nothing refers to any more.
//! * [`Tx::schedule_job`] keeps work for later, in the transaction of what causes it.
//! * [`Interned`] gives numbers to user IDs, room IDs, event types, state keys and servers.
//!
//! # What is kept in memory, and what bounds it
//!
//! What has a name in the metrics shares the budget `caches.memory_budget` with [all other caches](homeserver_core::MemoryBudget),
//! and is read again when it was dropped.
//!
//! | kept | in the metrics | bounded by | kept up to date by |
//! |---|---|---|---|
//! | numbers and texts of users, rooms, event types, state keys | `user_numbers`, `user_ids`, … | their shares | never changes |
//! | chunks of rooms' states | `state_chunks` | its share | never changes |
//! | the last state that this process wrote to a room | `written_states` | its share | the writer; what uses it compares the version of the head |
//! | rooms whose state is known in part ([`RoomStates`]) | | the rooms that are being joined, and a thousand more | the log |
//! | writes | | a queue of fixed length | the writer |
//! | translations of SQL statements | | the statements in the program | never changes |
//! | prepared statements and pages of SQLite | | 256 statements for each connection, 32 MiB for the one that writes and 1 MiB for each that reads | SQLite |

mod account_changes;
mod account_data;
mod accounts;
mod aliases;
mod append;
mod auth_chains;
mod backfill;
mod chunk_collection;
mod clean_up;
mod client_transactions;
mod database;
mod destinations;
mod devices;
mod directory;
mod encryption;
mod erasure;
mod events;
mod filters;
mod frequent;
mod gaps;
mod history;
mod homeserver;
mod interning;
mod jobs;
mod known_rooms;
mod leases;
mod log;
mod media;
mod membership;
mod migrations;
mod nodes;
mod openid_tokens;
mod outbox;
#[cfg(test)]
mod plans;
mod presence;
mod profiles;
mod push_rules;
mod rate_limit_overrides;
mod receipts;
mod registration_tokens;
mod remote_memberships;
mod repair;
mod room_graph;
mod room_purge;
mod room_states;
mod rooms;
mod server_identity;
mod servers;
mod servers_in_rooms;
mod state_chunks;
mod statistics;
mod threepid_validation;
mod threepids;
mod times;
mod tokens;
mod tx;
mod typing;
mod uia;
mod unread;
mod user_directory;
mod writer_memory;

pub use self::database::{Database, HeldLog};
pub use ::database::{
    DatabaseObserver, DatabaseOptions, Engine, LogObserver, LostLog, PoolState, Row, ServerLock, StatementTimes,
    StorageError, Synchronous, Value, back_up_sqlite, params,
};
pub use account_data::AccountDataEntry;
pub use accounts::{Account, LogOut, NewAccount, NewPasswordHash};
pub use aliases::RoomAlias;
pub use append::{
    Append, AppendOutcome, Arrival, EventNumber, NewEvent, NewOutlier, Redaction, StateBefore, StateEffect, Step,
    later_version,
};
pub use backfill::{FetchedEvent, GapFilling, PastRedaction};
pub use chunk_collection::{ChunkCollector, Collected, CollectorLimits};
pub use clean_up::Swept;
pub use client_transactions::{ClientTransaction, TransactionEndpoint, TransactionSender};
pub use destinations::{DestinationFilter, DestinationRecord};
pub use devices::{Device, LastSeen};
pub use directory::DirectoryEntry;
pub use encryption::{
    BackedUpSession, ClaimedKey, CrossSigningKey, CrossSigningUsage, KeyBackup, KeyCounts, KeySignature, KeysUpload,
    NewKey, NewKeySignature, NewToDeviceMessage, ServerQueue, SessionFilter, StoredDeviceKeys, StoredSessions,
    ToDeviceDevice, ToDeviceForServer, ToDeviceSend, UploadConflict, WantedKey,
};
pub use events::{RedactedEvent, Standing, StoredEvent, StoredPdu, TimelineReader};
pub use gaps::Gap;
pub use history::{RoomView, ViewKeys};
pub use interning::{EventNames, Interned};
pub use jobs::{Claim, ClaimedJob, JobCounts, JobFilter, JobId, JobRecord, JobState, NewJob, Progress, Wanted};
pub use leases::{HeldLease, Lease};
pub use log::{DeviceChange, LogEntry};
pub use media::{Filled, Media, MediaContent, MediaKey, ThumbnailKey};
pub use membership::{FirstMember, Membership, RoomMembership};
pub use migrations::MIGRATIONS;
pub use nodes::Node;
pub use outbox::{Due, OutboxProgress, OutgoingEvent};
pub use presence::{DevicePresence, NewPresence, Presence, PresenceState};
pub use push_rules::{AudienceMember, StoredPushRules};
pub use rate_limit_overrides::RateOverride;
pub use receipts::{NewReceipt, Receipt, ReceiptThread, ReceiptType};
pub use registration_tokens::UsableToken;
pub use remote_memberships::RemoteMembership;
pub use repair::{RepairedState, RoomRepair};
pub use room_graph::{GraphEvent, StateEventPlace};
pub use room_states::{FullState, KnownState, PartialState, RoomStates, StillPartial};
pub use rooms::{MemberCounts, RoomHead, StateChange, StateEntry};
pub use server_identity::SigningKey;
pub use servers::{FailingServer, StoredServerKeys};
pub use servers_in_rooms::Stay;
pub use state_chunks::{ChunkView, WrittenState};
pub use statistics::ServerStatistics;
pub use threepid_validation::{ValidationRequest, ValidationSession};
pub use threepids::UserThreepid;
pub use tokens::{NewTokens, Refreshed, StoredSession, TokenHash};
pub use tx::Tx;
pub use uia::{UiaOutcome, UiaSession};
pub use unread::{Notice, Unread, UnreadThread, UnreadTotals};
pub use user_directory::UserListing;

#[cfg(test)]
mod memory_tests;
