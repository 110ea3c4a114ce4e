//! A keep-alive HTTP/1.1 client that costs the generator as little as possible.
//!
//! The generator shares its machine with the server under test, so every microsecond spent here is
//! one that the server does not get. Connections are raw hyper connections in a stack: the one used
//! last is used next, and as many exist as requests were ever in flight at once.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A connection unused for this long may have been closed by the server and is not trusted again.
const IDLE_LIMIT: Duration = Duration::from_secs(15);
/// No request waits longer than this; long polls ask for at most half of it.
const REQUEST_LIMIT: Duration = Duration::from_secs(300);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// One server's address and the open connections to it.
pub(crate) struct Endpoint {
    host: String,
    port: u16,
    host_header: HeaderValue,
    path_prefix: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    idle: Mutex<Vec<(SendRequest<Full<Bytes>>, Instant)>>,
}

/// A complete answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// From just before the request was written to the last byte of the answer.
    pub(crate) latency: Duration,
}

/// Why no answer came.
#[derive(Debug)]
pub(crate) enum TransportError {
    Connect(io::Error),
    Exchange(hyper::Error),
    Request(http::Error),
    TimedOut,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {}", error.kind()),
            Self::Exchange(error) => write!(f, "connection broke: {error}"),
            Self::Request(error) => write!(f, "not a request: {error}"),
            Self::TimedOut => write!(f, "no answer within {} s", REQUEST_LIMIT.as_secs()),
        }
    }
}

impl Endpoint {
    /// Reads a base URL (`http://host:port`, `https://…`, with or without a path below it).
    pub(crate) fn new(base_url: &str) -> anyhow::Result<Self> {
        let uri: Uri = base_url.parse().with_context(|| format!("{base_url:?} is not a URL"))?;
        let host = uri.host().with_context(|| format!("{base_url:?} names no host"))?;
        let (default_port, encrypted) = match uri.scheme_str() {
            Some("http") => (80, false),
            Some("https") => (443, true),
            _ => bail!("{base_url:?} must start with http:// or https://"),
        };
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        let bare_host = host.trim_matches(['[', ']']).to_owned();
        let tls = match encrypted {
            true => Some((tls_connector()?, ServerName::try_from(bare_host.clone())?)),
            false => None,
        };
        Ok(Self {
            port: uri.port_u16().unwrap_or(default_port),
            host_header: HeaderValue::from_str(authority)?,
            path_prefix: uri.path().trim_end_matches('/').to_owned(),
            host: bare_host,
            tls,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn exchange(
        &self,
        method: &Method,
        path: &str,
        token: Option<&str>,
        body: &Bytes,
    ) -> Result<Answer, TransportError> {
        let authorization = token.map(|token| format!("Bearer {token}"));
        self.exchange_as(method, path, authorization.as_deref(), body).await
    }

    /// The same with another kind of authorization, as the header has it.
    pub(crate) async fn exchange_as(
        &self,
        method: &Method,
        path: &str,
        authorization: Option<&str>,
        body: &Bytes,
    ) -> Result<Answer, TransportError> {
        loop {
            let (mut connection, reused) = match self.idle_connection() {
                Some(connection) => (connection, true),
                None => (self.connect().await?, false),
            };
            let request = self.request(method, path, authorization, body.clone())?;
            let exchanged = tokio::time::timeout(REQUEST_LIMIT, exchange_on(&mut connection, request));
            match exchanged.await {
                Err(_) => return Err(TransportError::TimedOut),
                Ok(Ok(answer)) => {
                    self.keep(connection);
                    return Ok(answer);
                }
                // The server closed a connection that nothing was using: nothing has reached it.
                Ok(Err(error)) if reused && (error.is_canceled() || error.is_closed()) => {}
                Ok(Err(error)) => return Err(TransportError::Exchange(error)),
            }
        }
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        authorization: Option<&str>,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, TransportError> {
        let target = match self.path_prefix.as_str() {
            "" => path.to_owned(),
            prefix => format!("{prefix}{path}"),
        };
        let mut request = Request::builder().method(method).uri(target).header(header::HOST, &self.host_header);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(body)).map_err(TransportError::Request)
    }

    fn idle_connection(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((connection, since)) = idle.pop() {
            if since.elapsed() < IDLE_LIMIT && !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: SendRequest<Full<Bytes>>) {
        if !connection.is_closed() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((connection, Instant::now()));
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, TransportError> {
        let address = (self.host.as_str(), self.port);
        let stream = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address))
            .await
            .map_err(|_| TransportError::Connect(io::ErrorKind::TimedOut.into()))?
            .map_err(TransportError::Connect)?;
        stream.set_nodelay(true).map_err(TransportError::Connect)?;
        match &self.tls {
            None => handshake(TokioIo::new(stream)).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await.map_err(TransportError::Connect)?;
                handshake(TokioIo::new(stream)).await
            }
        }
    }
}

async fn handshake<Io>(io: Io) -> Result<SendRequest<Full<Bytes>>, TransportError>
where
    Io: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(TransportError::Exchange)?;
    // An error of the connection reaches the request that was using it.
    tokio::spawn(connection);
    Ok(sender)
}

async fn exchange_on(
    connection: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, hyper::Error> {
    connection.ready().await?;
    let started = Instant::now();
    let (head, body) = connection.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body, latency: started.elapsed() })
}

/// Trusts what the system trusts; `SSL_CERT_FILE` names other roots.
fn tls_connector() -> anyhow::Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_gives_host_port_and_path() {
        let endpoint = Endpoint::new("http://[::1]:8008/below/").unwrap();
        assert_eq!(endpoint.host, "::1");
        assert_eq!(endpoint.port, 8008);
        assert_eq!(endpoint.path_prefix, "/below");
        assert_eq!(endpoint.host_header, "[::1]:8008");
        assert_eq!(Endpoint::new("https://example.org").unwrap().port, 443);
    }

    #[test]
    fn a_url_of_another_scheme_is_refused() {
        assert!(Endpoint::new("ftp://example.org").is_err());
        assert!(Endpoint::new("example.org").is_err());
    }
}
