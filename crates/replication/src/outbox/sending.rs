//! One transaction after the other for each destination.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use federation::{Outgoing, RequestError};
use homeserver_core::{Position, Timestamp};
use http::{Method, StatusCode};
use ruma::OwnedServerName;
use serde::Deserialize;
use storage::StorageError;

use super::Outbox;
use super::destination::{Batch, MAX_EDUS, OutgoingPdu};
use super::state::Work;
use super::transaction::Transaction;

/// How long a destination may take for a transaction.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest answer to one.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// What failed is tried again after this, if nothing says otherwise.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The most messages to devices in one transaction, and their bytes unless the first one is larger.
const MAX_MESSAGES: usize = 20;
const MAX_MESSAGES_BYTES: usize = 4 << 20;

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
                Some(Work::Send(batch)) => {
                    self.send_batch(&server, batch).await.inspect(|()| self.state.lock().arrived(&server))
                }
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

    /// When a destination that was not reached is tried again.
    async fn again_at(&self, server: &OwnedServerName) -> Timestamp {
        let soon = self.parts.clock.now().plus(AGAIN_AFTER);
        self.parts.reachability.paused_until(server).await.map_or(soon, |paused_until| paused_until.max(soon))
    }

    /// Sends one transaction, with messages to devices if there are any: these are removed once they have arrived.
    async fn send_batch(&self, server: &OwnedServerName, batch: Batch) -> Result<(), NotSent> {
        let Batch { pdus, mut edus, has_messages } = batch;
        if !has_messages {
            return self.send(server, &pdus, &edus).await;
        }
        let database = &self.parts.database;
        let server_sn = self.parts.interned.server(server.as_str()).await?;
        let limit = MAX_EDUS.saturating_sub(edus.len()).min(MAX_MESSAGES);
        let mut messages = database.to_device_for_server(server_sn, i64::try_from(limit).unwrap_or(i64::MAX)).await?;
        let is_all = messages.len() < limit && fit(&messages) == messages.len();
        messages.truncate(fit(&messages));
        let last = messages.last().map(|(position, _)| *position);
        edus.extend(messages.into_iter().map(|(_, edu)| edu));
        if pdus.is_empty() && edus.is_empty() {
            return Ok(());
        }
        self.send(server, &pdus, &edus).await?;
        if let Some(last) = last {
            database.remove_to_device_for_server(server_sn, last).await?;
        }
        if !is_all {
            // This one is served already.
            self.state.lock().expect_messages(std::slice::from_ref(server));
        }
        Ok(())
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

/// How many of the messages fit into a transaction: one at least.
fn fit(messages: &[(Position, Bytes)]) -> usize {
    let mut bytes = 0;
    let fits = messages.iter().take_while(|(_, edu)| {
        bytes += edu.len();
        bytes <= MAX_MESSAGES_BYTES
    });
    fits.count().max(1).min(messages.len())
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
