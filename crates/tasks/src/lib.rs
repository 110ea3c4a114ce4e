//! Work that is bounded: jobs that outlive the process, queues with back-pressure, and limits on what runs at once.
//!
//! Nothing here knows what the work is about.
//!
//! * [`queue`]: work that must be done, though the process may be killed at any time. It is kept in the database.
//! * [`bounded`]: work that may be lost with the process. It is kept in memory, and never more than a given number of items.
//! * [`loops`]: work that never ends, and is started again if it does.
//! * [`limits`]: work that its caller waits for, with a limit on how much runs at once.

pub mod bounded;
pub mod limits;
pub mod loops;
pub mod queue;
