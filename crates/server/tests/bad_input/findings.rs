//! What is wrong with answers, collected, so that one run shows everything.

use std::time::Duration;

use serde_json::Value;
use testing::{Answer, Request};
use tokio::time::{Instant, timeout};

/// No request in these tests has a reason to take longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How many findings are shown.
const SHOWN: usize = 40;

/// What an answer to bad input must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expected {
    /// Anything but a failure of the server.
    Orderly,
    /// Status 400.
    Refused,
}

/// What was found, each with the request.
#[derive(Default)]
pub(crate) struct Findings {
    texts: Vec<String>,
    requests: usize,
}

impl Findings {
    /// Sends a request and notes what is wrong with the answer.
    pub(crate) async fn check(&mut self, request: Request, what: &str, expected: Expected) {
        self.requests += 1;
        let started = Instant::now();
        let answer = match timeout(ANSWER_LIMIT, request.send()).await {
            Err(_) => return self.note(format!("{what}: no answer in {} s", ANSWER_LIMIT.as_secs())),
            Ok(Err(unanswered)) => return self.note(format!("{what}: {unanswered}")),
            Ok(Ok(answer)) => answer,
        };
        if let Some(fault) = fault(&answer, expected) {
            self.note(format!("{what}: {fault} ({:?}): {}", started.elapsed(), cut(&answer)));
        }
    }

    /// Notes something that is wrong.
    pub(crate) fn note(&mut self, text: String) {
        self.texts.push(text);
    }

    /// Fails the test if anything was found.
    pub(crate) fn none(self) {
        let shown = self.texts.iter().take(SHOWN).map(|text| format!("{text}\n")).collect::<String>();
        assert!(self.texts.is_empty(), "{} of {} answers are wrong:\n{shown}", self.texts.len(), self.requests);
        assert!(self.requests > 0, "nothing was tried");
    }
}

fn fault(answer: &Answer, expected: Expected) -> Option<&'static str> {
    let status = answer.status.as_u16();
    // What looks like the name of another server may be one, and it is not this server that fails to answer then.
    if status >= 500 && errcode(answer) != "M_CONNECTION_FAILED" {
        return Some("a failure of the server");
    }
    if answer.headers.get("access-control-allow-origin").is_none_or(|origin| origin != "*") {
        return Some("no CORS headers");
    }
    if !answer.status.is_success() && !is_matrix_error(answer) {
        return Some("not a Matrix error");
    }
    if expected == Expected::Refused && status != 400 {
        return Some("not a 400");
    }
    if expected == Expected::Refused && errcode(answer) == "M_NOT_JSON" {
        return Some("JSON that is called no JSON");
    }
    None
}

fn is_matrix_error(answer: &Answer) -> bool {
    let text = |key: &str| answer.json[key].as_str().is_some_and(|text| !text.is_empty());
    let is_json = answer.headers.get("content-type").is_some_and(|kind| kind == "application/json");
    // What user-interactive authentication asks for is no error.
    let is_challenge = answer.status == 401 && answer.json["flows"].is_array();
    is_json && (is_challenge || (text("errcode") && text("error")))
}

fn cut(answer: &Answer) -> String {
    answer.to_string().chars().take(400).collect()
}

/// The error code of an answer.
pub(crate) fn errcode(answer: &Answer) -> &str {
    answer.json.get("errcode").and_then(Value::as_str).unwrap_or_default()
}
