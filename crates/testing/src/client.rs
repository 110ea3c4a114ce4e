//! A small HTTP client that speaks Matrix's JSON.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Connections;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;

/// Longer than any long poll of the tests.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// Sends requests to one server, over connections that its clones share.
#[derive(Clone)]
pub struct Client {
    connections: Connections<HttpConnector, Full<Bytes>>,
    base_url: String,
}

impl Client {
    /// A client of the server at `base_url`, such as `http://127.0.0.1:8008`.
    pub fn new(base_url: impl Into<String>) -> Self {
        let connections = Connections::builder(TokioExecutor::new()).build_http();
        Self { connections, base_url: base_url.into() }
    }

    /// The URL of the server.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// A GET request of `path`, which may end in a query string.
    pub fn get(&self, path: impl AsRef<str>) -> Request {
        self.request(Method::GET, path)
    }

    /// A POST request of `path`.
    pub fn post(&self, path: impl AsRef<str>) -> Request {
        self.request(Method::POST, path)
    }

    /// A PUT request of `path`.
    pub fn put(&self, path: impl AsRef<str>) -> Request {
        self.request(Method::PUT, path)
    }

    /// A DELETE request of `path`.
    pub fn delete(&self, path: impl AsRef<str>) -> Request {
        self.request(Method::DELETE, path)
    }

    /// A request with any method.
    ///
    /// # Panics
    /// When `path` is not allowed in a URL; [`path_segment`] encodes any text.
    pub fn request(&self, method: Method, path: impl AsRef<str>) -> Request {
        let path = path.as_ref();
        let url = format!("{}{path}", self.base_url);
        let url = url.parse().unwrap_or_else(|error| panic!("{url} is not a URL: {error}"));
        Request { connections: self.connections.clone(), method, url, headers: HeaderMap::new(), body: Bytes::new() }
    }
}

/// `text` as one segment of a path or one value of a query string, with everything encoded that could mean
/// something else there.
#[must_use]
pub fn path_segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A request that is sent when it is awaited.
#[must_use = "a request is sent when it is awaited"]
pub struct Request {
    connections: Connections<HttpConnector, Full<Bytes>>,
    method: Method,
    url: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    /// Sends an access token along.
    pub fn token(self, token: &str) -> Self {
        self.header(AUTHORIZATION, &format!("Bearer {token}"))
    }

    /// Sends `body` as JSON.
    pub fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        let body = serde_json::to_vec(body).expect("the body can be written as JSON");
        self.header(CONTENT_TYPE, "application/json").body(body)
    }

    /// Sends `body` as it is.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends a header along.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.insert(name, HeaderValue::from_str(value).expect("the text is allowed in a header"));
        self
    }

    /// Sends the request and waits for the whole answer, for tests in which the server may go away.
    pub async fn send(self) -> Result<Answer, Unanswered> {
        let request = format!("{} {}", self.method, self.url);
        match tokio::time::timeout(ANSWER_LIMIT, self.exchange(&request)).await {
            Ok(result) => result.map_err(|reason| Unanswered { request, reason }),
            Err(_) => Err(Unanswered { request, reason: format!("no answer in {} s", ANSWER_LIMIT.as_secs()) }),
        }
    }

    async fn exchange(self, request: &str) -> Result<Answer, String> {
        let mut message = http::Request::new(Full::new(self.body));
        *message.method_mut() = self.method;
        *message.uri_mut() = self.url;
        *message.headers_mut() = self.headers;
        let response = self.connections.request(message).await.map_err(|error| chain(&error))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| chain(&error))?.to_bytes();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Ok(Answer { request: request.to_owned(), status: head.status, headers: head.headers, body, json })
    }
}

impl IntoFuture for Request {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.send().await.unwrap_or_else(|unanswered| panic!("{unanswered}")) })
    }
}

/// What the server said.
#[derive(Debug)]
pub struct Answer {
    request: String,
    /// The HTTP status.
    pub status: StatusCode,
    /// The HTTP headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Bytes,
    /// The body as JSON; null when it is not JSON.
    pub json: Value,
}

impl Answer {
    /// The body of a 200 answer.
    ///
    /// # Panics
    /// When the status is another one, or the body is not JSON.
    #[track_caller]
    pub fn ok(self) -> Value {
        self.has_status(200)
    }

    /// The body of an error answer with this status and this `errcode`.
    ///
    /// # Panics
    /// When the status or the code is another one, or there is no sentence in `error`.
    #[track_caller]
    pub fn error(self, status: u16, errcode: &str) -> Value {
        let shown = self.to_string();
        let json = self.has_status(status);
        assert_eq!(json["errcode"], errcode, "{shown}");
        assert!(json["error"].as_str().is_some_and(|sentence| !sentence.is_empty()), "no sentence in {shown}");
        json
    }

    #[track_caller]
    fn has_status(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self}");
        assert!(!self.json.is_null(), "not JSON: {self}");
        self.json
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} was answered {}: {}", self.request, self.status, String::from_utf8_lossy(&self.body))
    }
}

/// A request that got no answer: the server may or may not have done what it asks for.
#[derive(Debug)]
pub struct Unanswered {
    request: String,
    reason: String,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} was not answered: {}", self.request, self.reason)
    }
}

impl std::error::Error for Unanswered {}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers one request with `answer` and returns what was sent.
    async fn exchange_with(answer: &'static str, request: impl FnOnce(Client) -> Request) -> (Answer, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(format!("http://{}", listener.local_addr().unwrap()));
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut received = vec![0; 4096];
            let length = stream.read(&mut received).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&received[..length]).into_owned()
        });
        (request(client).await, server.await.unwrap())
    }

    #[tokio::test]
    async fn a_request_carries_token_and_json() {
        let (answer, sent) = exchange_with("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}", |client| {
            client.put(format!("/rooms/{}", path_segment("#a:b"))).token("secret").json(&json!({"b": 2}))
        })
        .await;
        assert_eq!(answer.ok(), json!({"a": 1}));
        assert!(sent.starts_with("PUT /rooms/%23a%3Ab HTTP/1.1\r\n"), "{sent}");
        assert!(sent.contains("authorization: Bearer secret\r\n"), "{sent}");
        assert!(sent.ends_with("\r\n\r\n{\"b\":2}"), "{sent}");
    }

    #[tokio::test]
    #[should_panic(expected = "was answered 404 Not Found: {}")]
    async fn another_status_than_expected_fails_the_test() {
        let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}";
        let (answer, _) = exchange_with(answer, |client| client.get("/")).await;
        answer.ok();
    }

    #[tokio::test]
    async fn a_server_that_goes_away_leaves_the_request_unanswered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(format!("http://{}", listener.local_addr().unwrap()));
        tokio::spawn(async move { drop(listener.accept().await) });
        let unanswered = client.get("/versions").send().await.unwrap_err();
        assert!(unanswered.to_string().contains("/versions was not answered: "), "{unanswered}");
    }
}
