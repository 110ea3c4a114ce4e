//! Why another server has not answered.

use bytes::Bytes;
use http::StatusCode;
use room_engine::EventError;
use ruma::{OwnedServerName, ServerName};
use serde::Deserialize;
use tasks::limits::Busy;

/// What another server says about an error is shown to users: not more of it than they read.
const MAX_SENTENCE_CHARS: usize = 300;

/// Why another server has not answered what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The configuration says so.
    #[error("This server does not talk to others: federation is turned off")]
    Disabled,
    /// A request to itself.
    #[error("This server does not ask itself")]
    Itself,
    /// Too many requests run already.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The request is longer than what is signed.
    #[error("The request to {server} cannot be signed: {error}")]
    Unsigned {
        /// The other server.
        server: OwnedServerName,
        /// Why.
        error: EventError,
    },
    /// It was not found, did not let itself be connected to, or did not answer in time. The text does not say which: who asks could
    /// find out otherwise which names and ports there are in the networks that this server sees.
    #[error("{server} cannot be reached")]
    Unreachable {
        /// The other server.
        server: OwnedServerName,
        /// What happened, for the log.
        reason: String,
    },
    /// It sends its answer too slowly.
    #[error("{server} sends its answer too slowly")]
    TooSlow {
        /// The other server.
        server: OwnedServerName,
    },
    /// It answered with an error.
    #[error("{server} refuses: {sentence}")]
    Refused {
        /// The other server.
        server: OwnedServerName,
        /// The status of its answer.
        status: StatusCode,
        /// The code of the error, if there is one.
        errcode: Option<String>,
        /// What it says.
        sentence: String,
    },
    /// It answered with what nobody understands.
    #[error("{server} answers with something else than what it was asked for: {reason}")]
    BadAnswer {
        /// The other server.
        server: OwnedServerName,
        /// What is wrong with it.
        reason: String,
    },
}

impl RequestError {
    /// An answer that nobody understands, for that reason.
    #[must_use]
    pub fn bad_answer(server: &ServerName, reason: &str) -> Self {
        Self::BadAnswer { server: server.to_owned(), reason: excerpt(reason) }
    }

    /// Whether the other server says that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }

    /// Whether the other server does not know the path: it says so, or what refuses is something else in front of it.
    #[must_use]
    pub fn is_unrecognized(&self) -> bool {
        match self {
            Self::Refused { status, errcode: None, .. } => status.is_client_error(),
            error => error.has_code("M_UNRECOGNIZED"),
        }
    }

    /// Whether the other server says, with this code, that it refuses.
    #[must_use]
    pub fn has_code(&self, code: &str) -> bool {
        matches!(self, Self::Refused { errcode: Some(errcode), .. } if errcode == code)
    }
}

/// The error that an answer with this status is.
pub(super) fn refused(server: &ServerName, status: StatusCode, body: Option<Bytes>) -> RequestError {
    #[derive(Default, Deserialize)]
    struct Body {
        errcode: Option<String>,
        error: Option<String>,
    }
    let body: Body = body.and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
    let sentence = body.error.unwrap_or_else(|| format!("status {}", status.as_u16()));
    RequestError::Refused { server: server.to_owned(), status, errcode: body.errcode, sentence: excerpt(&sentence) }
}

/// As much of what another server says, or of what is said about it, as people read. Some errors quote the whole of what is wrong.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_SENTENCE_CHARS).collect()
}
