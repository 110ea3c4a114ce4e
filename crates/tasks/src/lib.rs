//! Work that is bounded: jobs that outlive the process, queues with back-pressure, and limits on what runs at once.
//!
//! Nothing here knows what the work is about.

pub mod limits;
