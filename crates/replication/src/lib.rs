//! Rooms that are shared with other servers: what they send to this one, and what is sent to them.

pub mod edus;
