//! room-engine
