//! What is left of a request's body when its answer is ready.
//!
//! A connection is closed when it is answered before the whole request has arrived, and a client that is still sending
//! then sees its connection break instead of the answer. So the rest is read and thrown away first, within bounds.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Buf, Bytes};
use http::header::EXPECT;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Sleep, sleep};

/// Most that is read of what nobody wants.
const MAX_BYTES: u64 = 4 << 20;
/// For no longer than this.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a body is put that was dropped before its end.
#[derive(Clone, Debug)]
pub(crate) struct UnreadBody(Arc<Mutex<Option<Body>>>);

impl UnreadBody {
    /// Keeps an eye on the body of `request`. There is nothing to watch if it has none, if it is larger than what would be
    /// read of it, or if the client waits with sending it until it is asked to.
    pub(crate) fn watch(request: Request) -> (Request, Option<Self>) {
        let body = request.body();
        if body.is_end_stream() || body.size_hint().lower() > MAX_BYTES || request.headers().contains_key(EXPECT) {
            return (request, None);
        }
        let unread = Self(Arc::default());
        let watched = unread.clone();
        (request.map(|body| Body::new(Watched { body, unread: watched })), Some(unread))
    }

    /// What was not read, to be thrown away.
    pub(crate) fn take(&self) -> Option<Discard> {
        let body = self.0.lock().take()?;
        Some(Discard { body, rest_bytes: MAX_BYTES, deadline: Box::pin(sleep(TIMEOUT)) })
    }
}

struct Watched {
    body: Body,
    unread: UnreadBody,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            *self.unread.0.lock() = Some(std::mem::take(&mut self.body));
        }
    }
}

/// Reads a body that nobody wants.
pub(crate) struct Discard {
    body: Body,
    rest_bytes: u64,
    deadline: Pin<Box<Sleep>>,
}

impl Discard {
    /// Ready once the body has ended, or there is too much of it.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.deadline.as_mut().poll(context).is_pending() {
            let Some(Ok(frame)) = ready!(Pin::new(&mut self.body).poll_frame(context)) else { break };
            let length = frame.data_ref().map_or(0, Buf::remaining);
            match self.rest_bytes.checked_sub(u64::try_from(length).unwrap_or(u64::MAX)) {
                Some(rest_bytes) => self.rest_bytes = rest_bytes,
                None => break,
            }
        }
        Poll::Ready(())
    }
}
