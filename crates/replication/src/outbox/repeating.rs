//! What other servers are told again while it lasts: they take it as over if they hear nothing of it for some time.

use std::sync::Arc;
use std::time::Duration;

use storage::StorageError;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Outbox;

/// How often they are told who types. This server itself believes it for a minute.
const TYPING_AFTER: Duration = Duration::from_secs(40);
/// How often they are told who is there. This server itself believes it for half an hour.
const PRESENCE_AFTER: Duration = Duration::from_secs(20 * 60);

impl Outbox {
    /// Tells other servers again what lasts, for ever.
    pub(super) async fn repeat(self: &Arc<Self>) {
        let ticks = |period| {
            let mut ticks = interval_at(Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut typing, mut presence) = (ticks(TYPING_AFTER), ticks(PRESENCE_AFTER));
        loop {
            let repeated = tokio::select! {
                _ = typing.tick() => self.repeat_typing().await,
                _ = presence.tick() => self.repeat_presence().await,
            };
            if let Err(error) = repeated {
                tracing::warn!(%error, "other servers are not told again who types and who is there");
            }
        }
    }

    async fn repeat_typing(self: &Arc<Self>) -> Result<(), StorageError> {
        for (room_sn, user_sn) in self.parts.database.typing().await? {
            if let Some(edu) = self.parts.edus.typing(room_sn, user_sn, true).await? {
                self.hand_over_edu(&edu).await?;
            }
        }
        Ok(())
    }

    async fn repeat_presence(self: &Arc<Self>) -> Result<(), StorageError> {
        for presence in self.parts.database.present_users().await? {
            if let Some(edu) = self.parts.edus.presence(&presence).await? {
                self.hand_over_edu(&edu).await?;
            }
        }
        Ok(())
    }
}
