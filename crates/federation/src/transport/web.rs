use std::io;

use bytes::Bytes;
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use super::KEPT_FOR;
use super::dialler::{Connector, Dialler, connector};
use crate::client::AGENT;
use crate::discovery::{Host, Target};

/// The port of HTTPS.
const HTTPS_PORT: u16 = 443;

/// Asks hosts that others name.
#[derive(Clone)]
pub struct Web(Client<Connector, Full<Bytes>>);

impl Web {
    /// Pages that `dialler` reaches.
    #[must_use]
    pub fn new(dialler: Dialler) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(KEPT_FOR).pool_max_idle_per_host(1);
        Self(builder.build(connector(dialler, find)))
    }

    /// Gets a page of `limit_bytes` at most. Redirects are an answer like any other.
    pub(crate) async fn get(&self, url: &Url, limit_bytes: usize) -> Result<Response<Bytes>, String> {
        let request = Request::get(url.as_str()).body(Bytes::new()).map_err(|error| error.to_string())?;
        self.ask(request, limit_bytes).await
    }

    /// Makes a request whose answer has `limit_bytes` at most. Redirects are an answer like any other.
    pub(crate) async fn ask(&self, request: Request<Bytes>, limit_bytes: usize) -> Result<Response<Bytes>, String> {
        let mut request = request.map(Full::new);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let answer = self.0.request(request).await.map_err(|error| cause(&error))?;
        let (parts, body) = answer.into_parts();
        Ok(Response::from_parts(parts, read_body(body, limit_bytes).await?))
    }
}

/// The whole of a body, if it is not longer than that.
pub(crate) async fn read_body(body: Incoming, limit_bytes: usize) -> Result<Bytes, String> {
    let read = Limited::new(body, limit_bytes).collect().await;
    read.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() {
            format!("the answer is longer than {limit_bytes} bytes")
        } else {
            error.to_string()
        }
    })
}

/// What is at the bottom of an error: the layers above only say that something failed.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// The host of a URI.
async fn find(uri: Uri) -> io::Result<(Box<[Target]>, Host)> {
    let host = uri.host().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a URL without a host"))?;
    let host = Host::parse(host);
    let port = uri.port_u16().unwrap_or(HTTPS_PORT);
    Ok((Box::new([Target { host: host.clone(), port, is_configured: false }]), host))
}
