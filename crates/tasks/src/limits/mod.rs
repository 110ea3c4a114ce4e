//! Limits on how much of one kind of heavy work runs at once.
//!
//! A [`Limit`] has three figures: how many run, how many more may wait for their turn, and how long each of these waits at
//! most. A caller that finds the queue full, or has waited that long, gets [`Busy`]: the queue has a bounded length, and
//! every wait ends. The figures can be changed while work runs and waits.
//!
//! ```
//! # use std::{num::NonZeroUsize, sync::Arc, time::Duration};
//! # use tasks::limits::{Limit, LimitSize, Unobserved};
//! # async fn example() -> Result<(), tasks::limits::Busy> {
//! let size = LimitSize { running: NonZeroUsize::MIN, waiting: 50, longest_wait: Duration::from_secs(10) };
//! let limit = Arc::new(Limit::new("password_hashing", size, Arc::new(Unobserved)));
//! let permit = limit.enter().await?;
//! // The heavy work, which may go to another thread with the permit.
//! drop(permit);
//! # Ok(())
//! # }
//! ```

mod busy;
mod limit;
mod observer;
mod shares;

pub use busy::{Busy, Reason};
pub use limit::{Limit, LimitSize, Permit};
pub use observer::{LimitObserver, Unobserved};
pub use shares::Shares;
