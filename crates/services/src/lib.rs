//! One typed component per responsibility, each given exactly what it needs in its constructor. Nothing here knows of HTTP, and
//! no SQL stands here.

pub mod account_data;
pub mod accounts;
pub mod background;
pub mod capabilities;
pub mod devices;
pub mod discovery;
pub mod filters;
pub mod identity;
pub mod log;
pub mod mail;
pub mod object;
pub mod passwords;
pub mod profiles;
pub mod push_rules;
pub mod rate_limits;
pub mod reading;
pub mod receipts;
pub mod registration;
pub mod rooms;
pub mod sessions;
pub mod sync;
pub mod threepids;
pub mod tokens;
pub mod uia;
pub mod unread;
pub mod user_directory;
pub mod wire;

pub use storage::StorageError;
pub use tasks::limits;
