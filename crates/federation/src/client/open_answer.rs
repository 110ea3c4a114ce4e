use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use ruma::{OwnedServerName, ServerName};
use tasks::limits::Permit;

use super::TIMEOUT;
use super::error::RequestError;
use crate::transport::cause;

/// An answer that is read piece by piece may be waited for this long in all, and for each of so many bytes a second longer.
const GRACE: Duration = Duration::from_secs(20);
const SLOWEST_BYTES_PER_SECOND: u64 = 32 << 10;
/// But not longer than this.
const LONGEST: Duration = Duration::from_mins(30);

/// An answer whose body is read piece by piece. It keeps its place among the requests until it is dropped.
pub struct OpenAnswer {
    pub(super) server: OwnedServerName,
    /// The headers.
    pub headers: HeaderMap,
    pub(super) body: Incoming,
    pub(super) progress: Progress,
    pub(super) _permit: Permit,
}

/// How an answer comes along. The time in which nobody reads it does not count.
#[derive(Default)]
pub(super) struct Progress {
    waited: Duration,
    bytes: u64,
}

impl Progress {
    /// How long the next piece may take.
    fn patience(&self) -> Duration {
        let earned = Duration::from_millis(self.bytes.saturating_mul(1000) / SLOWEST_BYTES_PER_SECOND);
        (GRACE.saturating_add(earned)).min(LONGEST).saturating_sub(self.waited).min(TIMEOUT)
    }
}

impl OpenAnswer {
    /// Who answers.
    #[must_use]
    pub fn server(&self) -> &ServerName {
        &self.server
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`RequestError`] if the body breaks off, or comes too slowly.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, RequestError> {
        let Self { server, body, progress, .. } = self;
        loop {
            let began = Instant::now();
            let frame = tokio::time::timeout(progress.patience(), body.frame()).await;
            progress.waited += began.elapsed();
            let frame = frame.map_err(|_| RequestError::TooSlow { server: server.clone() })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| RequestError::bad_answer(server, &cause(&error)))?;
            // What is no data are trailers.
            if let Ok(bytes) = frame.into_data() {
                progress.bytes += bytes.len() as u64;
                return Ok(Some(bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_comes_along_is_waited_for_and_one_that_drips_is_not() {
        let patience = |waited_s: u64, bytes| Progress { waited: Duration::from_secs(waited_s), bytes }.patience();
        assert_eq!(patience(0, 0), GRACE);
        assert_eq!(patience(15, 100).as_secs(), 5);
        assert_eq!(patience(20, 60), Duration::from_millis(1));
        assert_eq!(patience(21, 60), Duration::ZERO);
        assert_eq!(patience(60, 100 * SLOWEST_BYTES_PER_SECOND), TIMEOUT);
        assert_eq!(patience(1795, u64::MAX).as_secs(), 5);
        assert_eq!(patience(1800, u64::MAX), Duration::ZERO);
    }
}
