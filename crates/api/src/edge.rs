//! What happens to every request, whichever endpoint it is for: one layer, without a box or an allocation of its own.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use http::header::{ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN};
use http::{HeaderValue, Method, StatusCode};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use telemetry::{RemoteTraces, RequestFacts, RequestSpan};

use crate::error::{ApiError, InternalError};
use crate::request_id::{RequestId, X_REQUEST_ID};
use crate::unread_body::{Discard, UnreadBody};

/// Learns of every answered request: the method, the route as it was declared (`None` if no route matched), the status, and how
/// long the handler took.
pub trait RequestObserver: Send + Sync {
    /// A request has been answered.
    fn answered(&self, method: &Method, route: Option<&str>, status: StatusCode, took: Duration);
}

impl<F: Fn(&Method, Option<&str>, StatusCode, Duration) + Send + Sync> RequestObserver for F {
    fn answered(&self, method: &Method, route: Option<&str>, status: StatusCode, took: Duration) {
        self(method, route, status, took);
    }
}

/// Answers `OPTIONS` for any path, adds the CORS headers to every answer, turns a panic into a 500, measures, and gives every
/// request an ID and a span: whatever is logged in it can be found by the ID, which its answer carries too.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients>
#[derive(Clone)]
pub(crate) struct EdgeLayer {
    pub(crate) observer: Option<Arc<dyn RequestObserver>>,
    pub(crate) client_traces: RemoteTraces,
}

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Edge<S> {
        Edge { inner, observer: self.observer.clone(), client_traces: self.client_traces }
    }
}

#[derive(Clone)]
pub(crate) struct Edge<S> {
    inner: S,
    observer: Option<Arc<dyn RequestObserver>>,
    client_traces: RemoteTraces,
}

impl<S> Service<Request> for Edge<S>
where
    S: Service<Request>,
    S::Response: IntoResponse,
{
    type Response = Response;
    type Error = S::Error;
    type Future = EdgeFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let seen = Seen::new(&request, self.observer.clone(), self.client_traces);
        let (request, unread) = UnreadBody::watch(request);
        let inner = if request.method() == Method::OPTIONS {
            None
        } else {
            Some(seen.span.span().in_scope(|| self.inner.call(request)))
        };
        EdgeFuture { inner, seen, unread, answer: None }
    }
}

/// What is known of a request apart from what is done with it.
struct Seen {
    id: RequestId,
    method: Method,
    route: Option<MatchedPath>,
    started: Instant,
    span: RequestSpan,
    observer: Option<Arc<dyn RequestObserver>>,
}

impl Seen {
    fn new(request: &Request, observer: Option<Arc<dyn RequestObserver>>, client_traces: RemoteTraces) -> Self {
        let started = Instant::now();
        let (id, method) = (RequestId::of(request.headers()), request.method().clone());
        let route = request.extensions().get::<MatchedPath>().cloned();
        let facts = RequestFacts {
            request_id: id.as_str(),
            method: method.as_str(),
            route: route.as_ref().map(MatchedPath::as_str),
            headers: request.headers(),
        };
        let span = RequestSpan::begin(&facts, remote_traces(request.uri().path(), client_traces));
        Self { id, method, route, started, span, observer }
    }

    /// Marks the answer, and tells of it.
    fn answered(&self, response: &mut Response) {
        if let Some(InternalError(error)) = response.extensions_mut().remove() {
            *response = error.quoting(self.id.as_str()).into_response();
        }
        response.headers_mut().insert(X_REQUEST_ID, self.id.clone().into_header());
        let (status, took) = (response.status(), self.started.elapsed());
        tracing::debug!(target: "access", status = status.as_u16(), took_ms = took.as_secs_f64() * 1000.0, "answered");
        self.span.answered(status.as_u16());
        if let Some(observer) = &self.observer {
            observer.answered(&self.method, self.route.as_ref().map(MatchedPath::as_str), status, took);
        }
    }
}

/// A homeserver's requests are a part of what it does for its users, so its traces are continued.
fn remote_traces(path: &str, client_traces: RemoteTraces) -> RemoteTraces {
    if path.starts_with("/_matrix/federation/") { RemoteTraces::Continue } else { client_traces }
}

pin_project! {
    /// Answers at once if there is nothing inside.
    pub(crate) struct EdgeFuture<F> {
        #[pin]
        inner: Option<F>,
        seen: Seen,
        unread: Option<UnreadBody>,
        // Ready, but what is left of the request is read first.
        answer: Option<(Response, Discard)>,
    }
}

impl<F, R, E> Future for EdgeFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: IntoResponse,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some((_, discard)) = this.answer {
            ready!(discard.poll(context));
            return Poll::Ready(Ok(this.answer.take().map(|(response, _)| response).unwrap_or_default()));
        }
        let mut response = {
            let _entered = this.seen.span.span().enter();
            let mut response = match this.inner.as_mut().as_pin_mut() {
                None => StatusCode::OK.into_response(),
                Some(inner) => match catch_unwind(AssertUnwindSafe(|| inner.poll(context))) {
                    Ok(polled) => ready!(polled)?.into_response(),
                    Err(panic) => panicked(panic.as_ref()).into_response(),
                },
            };
            // The handler's future, and with it the request, goes before what is left of the request can be seen.
            this.inner.set(None);
            this.seen.answered(&mut response);
            response
        };
        add_cors_headers(&mut response);
        if let Some(mut discard) = this.unread.take().and_then(|unread| unread.take())
            && discard.poll(context).is_pending()
        {
            *this.answer = Some((response, discard));
            return Poll::Pending;
        }
        Poll::Ready(Ok(response))
    }
}

fn add_cors_headers(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("X-Requested-With, Content-Type, Authorization, If-Match, If-None-Match"),
    );
}

/// A defect that one request meets must not be the end of all others.
fn panicked(panic: &(dyn Any + Send)) -> ApiError {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    ApiError::internal("Handling a request", &std::io::Error::other(message.unwrap_or("panic").to_owned()))
}
