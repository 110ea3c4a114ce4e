//! One typed component per responsibility, each given exactly what it needs in its constructor. Nothing here knows of HTTP, and
//! no SQL stands here.

pub mod capabilities;
pub mod discovery;
pub mod identity;
pub mod log;
pub mod rooms;
pub mod sessions;
pub mod wire;

pub use storage::StorageError;
