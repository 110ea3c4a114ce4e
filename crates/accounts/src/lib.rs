//! Accounts and what belongs to one user: how they begin, how their owners prove who they are, and what they have stored here.
//!
//! Begin with [`authentication`]: every request with an access token passes through its [`Authenticator`](authentication::Authenticator),
//! and everything else is asked on behalf of a [`sessions::Requester`].
//!
//! * [`registration`] makes accounts, [`Accounts`] logs in to them, changes and closes them, and [`login_tokens`] log in another device;
//!   [`rendezvous`] lets it meet one that is logged in.
//! * [`uia`] is user-interactive authentication; [`passwords`], [`threepids`] and [`mail`] are what it proves with.
//! * [`profiles`], [`devices`], [`account_data`], [`filters`], [`push_rules`] and [`ignoring`] are what users keep here.
//! * [`rate_limits`] counts what users and addresses do, [`asking`] what they have this server ask of others.
//! * [`capabilities`] and [`well_known`] are documents that clients read before they do anything.
//! * [`jobs`] are what follows from a change of an account.
//!
//! # What is kept in memory, and what bounds it
//!
//! What has a name in the metrics shares the budget `caches.memory_budget` with [all other caches](homeserver_core::MemoryBudget),
//! and is read again from the database when it was dropped.
//!
//! | kept | in the metrics | bounded by | kept up to date by |
//! |---|---|---|---|
//! | whom access tokens belong to | `sessions` | its share | what revokes tokens, and the log of other nodes |
//! | stored filters | `filters` | its share | never changes |
//! | whom users ignore | `ignored_users` | its share | the log |
//! | when devices were last seen, until it is written | | 10,000 devices | [`sessions`]; the later time is kept where several nodes write it |
//! | what was spent of rate limits | | 65,536 keys of each kind | [`rate_limits`]; each node counts what it sees |

pub mod account_data;
mod accounts;
pub mod asking;
pub mod authentication;
pub mod capabilities;
pub mod devices;
pub mod filters;
pub mod ignoring;
pub mod jobs;
pub mod login_tokens;
pub mod mail;
pub mod moderation;
pub mod object;
pub mod openid;
pub mod passwords;
pub mod profiles;
pub mod push_rules;
pub mod rate_limits;
pub mod registration;
pub mod rendezvous;
pub mod sessions;
pub mod tags;
pub mod threepids;
pub mod turn;
pub mod uia;
pub mod unicode;
pub mod well_known;

pub use accounts::{AccountError, Accounts, Listed, PasswordProof};
pub use storage::StorageError;
