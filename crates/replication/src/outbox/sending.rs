//! One transaction after the other for each destination.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use federation::{Outgoing, RequestError};
use homeserver_core::{Position, ServerSn, Timestamp};
use http::{Method, StatusCode};
use ruma::OwnedServerName;
use serde::Deserialize;
use storage::StorageError;

use super::Outbox;
use super::destination::{Load, OutgoingPdu};
use super::state::Work;
use super::transaction::Transaction;
use crate::edus::waiting::MAX_EDUS;

/// How long a destination may take for a transaction.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest answer to one.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// What failed is tried again after this, if nothing says otherwise.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The most messages to devices in one transaction, and their bytes unless the first one is larger.
const MAX_MESSAGES: usize = 20;
const MAX_MESSAGES_BYTES: usize = 4 << 20;

/// Messages to devices of a destination.
#[derive(Default)]
struct Messages {
    edus: Vec<Bytes>,
    /// The number of the destination, and where in the log the last of them was sent.
    until: Option<(ServerSn, Position)>,
    /// Whether there are more.
    has_more: bool,
}

/// Why a destination does not have what it was sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSent {
    /// It was not reached, or cannot take it now.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What is to be sent cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What a destination answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    pdus: std::collections::BTreeMap<String, PduResult>,
}

#[derive(Deserialize)]
struct PduResult {
    error: Option<String>,
}

impl Outbox {
    /// Sends a destination what there is, in the background. It must count as served.
    pub(super) fn spawn(self: &Arc<Self>, server: OwnedServerName) {
        let Some(ended) = self.state.lock().ended.clone() else { return };
        let outbox = self.clone();
        tokio::spawn(async move { ended.run_until_cancelled(outbox.serve(server)).await });
    }

    /// Sends a destination what there is, until there is nothing more or it is not reached.
    async fn serve(&self, server: OwnedServerName) {
        loop {
            let work = self.state.lock().work(&server);
            let sent = match work {
                None => return,
                Some(Work::Send(load)) => self.deliver(&server, load).await,
                Some(Work::CatchUp { after, until }) => {
                    if let Some(again_at) = self.parts.reachability.paused_until(&server).await {
                        self.state.lock().failed(&server, again_at);
                        return;
                    }
                    // The semaphore is never closed.
                    let _place = self.probes.acquire().await;
                    let sent_up_to = self.catch_up(&server, after, until).await;
                    sent_up_to.map(|sent_up_to| self.state.lock().caught_up(&server, sent_up_to))
                }
            };
            if let Err(error) = sent {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%server, %error, "a server was not sent what is meant for it");
                let again_at = self.again_at(&server).await;
                self.state.lock().failed(&server, again_at);
                return;
            }
        }
    }

    /// Sends what waits for a destination, with messages to devices if there are any.
    async fn deliver(&self, server: &OwnedServerName, load: Load) -> Result<(), NotSent> {
        let Load { pdus, mut edus, with_messages } = load;
        let delivered = async {
            let room = MAX_EDUS.saturating_sub(edus.len()).min(MAX_MESSAGES);
            let messages = if with_messages { self.messages(server, room).await? } else { Messages::default() };
            edus.extend(messages.edus);
            if !pdus.is_empty() || !edus.is_empty() {
                self.send(server, &pdus, &edus).await?;
            }
            if let Some((server_sn, until)) = messages.until {
                self.parts.database.remove_to_device_for_server(server_sn, until).await?;
            }
            Ok::<bool, NotSent>(messages.has_more)
        };
        let delivered = delivered.await;
        let mut state = self.state.lock();
        if delivered.as_ref().map_or(with_messages, |has_more| *has_more) {
            state.has_messages(server);
        }
        delivered?;
        state.arrived(server);
        Ok(())
    }

    /// The oldest messages to devices of a destination, at most `limit`.
    async fn messages(&self, server: &OwnedServerName, limit: usize) -> Result<Messages, StorageError> {
        let mut messages = Messages::default();
        let Some(server_sn) = self.parts.interned.find_server(server.as_str()).await? else { return Ok(messages) };
        let further = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut bytes = 0;
        for (position, edu) in self.parts.database.to_device_for_server(server_sn, further).await? {
            bytes += edu.len();
            if messages.edus.len() == limit || (bytes > MAX_MESSAGES_BYTES && !messages.edus.is_empty()) {
                messages.has_more = true;
                break;
            }
            messages.until = Some((server_sn, position));
            messages.edus.push(edu);
        }
        Ok(messages)
    }

    /// When a destination that was not reached is tried again.
    async fn again_at(&self, server: &OwnedServerName) -> Timestamp {
        let soon = self.parts.clock.now().plus(AGAIN_AFTER);
        self.parts.reachability.paused_until(server).await.map_or(soon, |paused_until| paused_until.max(soon))
    }

    /// Sends one transaction. A destination that refuses it for good is not sent it again.
    pub(super) async fn send(
        &self,
        server: &OwnedServerName,
        pdus: &[Arc<OutgoingPdu>],
        edus: &[Bytes],
    ) -> Result<(), NotSent> {
        let number = self.transactions.fetch_add(1, Ordering::Relaxed);
        let uri = format!("/_matrix/federation/v1/send/{:x}-{number}", self.process);
        let now = self.parts.clock.now();
        let transaction = Transaction { origin: &self.parts.server_name, now, pdus, edus };
        let outgoing = Outgoing {
            method: Method::PUT,
            server,
            uri: &uri,
            body: Some(transaction.to_json()),
            limit_bytes: MAX_ANSWER_BYTES,
            timeout: TIMEOUT,
        };
        match self.parts.client.ask(&outgoing).await {
            Ok(answer) => {
                tell_refused(server, &answer);
                Ok(())
            }
            // It has been taken, whatever it is that the destination says.
            Err(RequestError::BadAnswer { .. }) => Ok(()),
            Err(error @ RequestError::Refused { status, .. }) if is_final(status) => {
                tracing::warn!(%server, %error, "a server refuses a transaction; it is not sent it again");
                Ok(())
            }
            Err(error @ RequestError::Refused { .. }) => {
                self.parts.reachability.missed(server, now).await;
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a transaction that was refused so would be refused again.
fn is_final(status: StatusCode) -> bool {
    let may_change =
        [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND, StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    status.is_client_error() && !may_change.contains(&status)
}

/// Tells the log which events a destination does not take.
fn tell_refused(server: &OwnedServerName, answer: &Bytes) {
    let Ok(Answer { pdus }) = serde_json::from_slice(answer) else { return };
    for (event_id, result) in pdus {
        if let Some(error) = result.error {
            tracing::debug!(%server, event_id, error, "a server does not take an event");
        }
    }
}
