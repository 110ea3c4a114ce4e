//! Endpoints about rooms.

mod error;
