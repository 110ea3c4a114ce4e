//! `https://HOST/.well-known/matrix/server`
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver>

use std::time::Duration;

use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderMap, StatusCode};
use ruma::OwnedServerName;
use serde::Deserialize;
use url::Url;

use crate::transport::Web;

const MAX_REDIRECTS: usize = 5;
const MAX_BODY_BYTES: usize = 50 << 10;
/// For everything, redirects included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer is believed that says nothing about it, and the bounds for one that does.
const USUAL_AGE: Duration = Duration::from_hours(24);
const SHORTEST_AGE: Duration = Duration::from_mins(5);
const LONGEST_AGE: Duration = Duration::from_hours(48);

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "m.server")]
    server: OwnedServerName,
}

/// To where the host delegates, and for how long that can be believed.
pub(super) async fn look_up(web: &Web, host: &str) -> Option<(OwnedServerName, Duration)> {
    let url = Url::parse(&format!("https://{host}/.well-known/matrix/server")).ok()?;
    match tokio::time::timeout(TIMEOUT, follow(web, url)).await {
        Ok(Ok(found)) => Some(found),
        Ok(Err(reason)) => {
            tracing::debug!(host, reason, "a host delegates to no homeserver");
            None
        }
        Err(_) => {
            tracing::debug!(host, "a host does not tell in time whether it delegates to a homeserver");
            None
        }
    }
}

async fn follow(web: &Web, mut url: Url) -> Result<(OwnedServerName, Duration), String> {
    for _ in 0..=MAX_REDIRECTS {
        let answer = web.get(&url, MAX_BODY_BYTES).await?;
        if answer.status().is_redirection() {
            url = redirected(&url, answer.headers()).ok_or("a redirect to nowhere, or not over TLS")?;
            continue;
        }
        if answer.status() != StatusCode::OK {
            return Err(format!("status {}", answer.status()));
        }
        let document: Document = serde_json::from_slice(answer.body()).map_err(|error| error.to_string())?;
        return Ok((document.server, age(answer.headers())));
    }
    Err(format!("more than {MAX_REDIRECTS} redirects"))
}

fn redirected(from: &Url, headers: &HeaderMap) -> Option<Url> {
    let to = from.join(headers.get(LOCATION)?.to_str().ok()?).ok()?;
    (to.scheme() == "https").then_some(to)
}

/// How long an answer with these headers can be believed.
fn age(headers: &HeaderMap) -> Duration {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut age = USUAL_AGE;
    for directive in values.flat_map(|value| value.split(',')).map(str::trim) {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
            return SHORTEST_AGE;
        }
        if let Some((name, seconds)) = directive.split_once('=')
            && name.trim().eq_ignore_ascii_case("max-age")
            && let Ok(seconds) = seconds.trim().trim_matches('"').parse()
        {
            age = Duration::from_secs(seconds);
        }
    }
    age.clamp(SHORTEST_AGE, LONGEST_AGE)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_answer_is_believed_for_as_long_as_it_says_within_bounds() {
        for (value, seconds) in [
            (None, 86_400),
            (Some("public, max-age=3600"), 3_600),
            (Some("Max-Age = \"3600\""), 3_600),
            (Some("max-age=1"), 300),
            (Some("max-age=31536000"), 172_800),
            (Some("max-age=99999999999999999999"), 86_400),
            (Some("no-store, max-age=3600"), 300),
            (Some("max-age=x"), 86_400),
        ] {
            let headers = value.map(|value| (CACHE_CONTROL, HeaderValue::from_static(value)));
            assert_eq!(age(&headers.into_iter().collect()), Duration::from_secs(seconds), "{value:?}");
        }
    }

    #[test]
    fn redirects_stay_encrypted() {
        let from = Url::parse("https://a.example/.well-known/matrix/server").unwrap();
        let to = |value| redirected(&from, &HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(value))]));
        assert_eq!(to("/x").unwrap().as_str(), "https://a.example/x");
        assert_eq!(to("//b.example/x").unwrap().as_str(), "https://b.example/x");
        assert_eq!(to("http://b.example/x"), None);
        assert_eq!(to("file:///etc/passwd"), None);
        assert_eq!(redirected(&from, &HeaderMap::new()), None);
    }
}
