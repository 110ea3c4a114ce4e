//! Rate limits by the configuration, their metrics, and what they are where several servers share a database.
//!
//! A server counts what it sees. A limit that protects secrets must not grow with the number of servers: each of n servers allows an n-th
//! of its rate, so together they allow what is configured. Behind a proxy that keeps a client at one server, that client has less.
//! Shared counts would be exact, but cost a write to the database for each attempt, and anybody can attempt. The other limits bound
//! what one server does for one user, and grow with the number of servers.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use accounts::rate_limits::{LimitedAction, Rate, RateLimits};
use config::Config;
use homeserver_core::Identity;
use parking_lot::Mutex;
use storage::Database;
use tasks::loops::Loops;
use telemetry::{Metrics, MetricsError, RateLimitMetrics};

use crate::{
    StartError,
    nodes::{NodeCount, ThisNode},
};

/// How often the rate limits forget keys without recent actions, and read overrides that another node may have changed.
const TEND_EVERY: Duration = Duration::from_mins(1);

/// The rate limits, with what their rates follow from.
pub(super) struct ConfiguredRateLimits {
    pub(super) limits: Arc<RateLimits>,
    basis: Mutex<Basis>,
}

/// What the rates of one server follow from.
struct Basis {
    configured: config::RateLimits,
    nodes: NodeCount,
}

impl ConfiguredRateLimits {
    /// Reads the overrides, and begins to follow the number of nodes.
    pub(super) async fn new(
        config: &Config,
        database: &Database,
        identity: &Identity,
        node: Option<&ThisNode>,
        loops: &Loops,
    ) -> Result<Arc<Self>, StartError> {
        let count = node.map(ThisNode::count);
        let nodes = count.as_ref().map_or(NodeCount::MIN, |count| *count.borrow());
        let basis = Basis { configured: config.rate_limits.clone(), nodes };
        let limits = RateLimits::new(database.clone(), identity.server_name.clone(), |kind| basis.rate(kind));
        limits.tend().await?;
        let limits = Arc::new(Self { limits: Arc::new(limits), basis: Mutex::new(basis) });
        if let Some(count) = count {
            let divided = limits.clone();
            loops.spawn("rates of nodes", move || {
                let (limits, mut count) = (divided.clone(), count.clone());
                async move {
                    while count.changed().await.is_ok() {
                        let nodes = *count.borrow_and_update();
                        limits.change(|basis| basis.nodes = nodes);
                    }
                }
            });
        }
        Ok(limits)
    }

    /// Takes over the rates of a new configuration.
    pub(super) fn reconfigure(&self, config: &Config) {
        self.change(|basis| basis.configured.clone_from(&config.rate_limits));
    }

    /// Registers the metrics, and tends the limits in one of the server's `loops`.
    pub(super) fn tend(&self, metrics: &Metrics, loops: &Loops) -> Result<(), MetricsError> {
        let group = RateLimitMetrics::new(metrics)?;
        metrics.before_reading({
            let limits = self.limits.clone();
            move || {
                for counts in limits.counts() {
                    group.set(counts.kind.name(), counts.refused, counts.keys);
                }
            }
        });
        let limits = self.limits.clone();
        loops.spawn("rate limits", move || tend_forever(limits.clone()));
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Basis)) {
        let mut basis = self.basis.lock();
        change(&mut basis);
        self.limits.reconfigure(|kind| basis.rate(kind));
    }
}

async fn tend_forever(limits: Arc<RateLimits>) {
    loop {
        tokio::time::sleep(TEND_EVERY).await;
        if let Err(error) = limits.tend().await {
            tracing::warn!(%error, "the rate limits of single users may be old");
        }
    }
}

impl Basis {
    /// The rate of a kind of action at this server; `None` without a limit.
    fn rate(&self, kind: LimitedAction) -> Option<Rate> {
        let rate = configured(&self.configured, kind)?;
        if !protects_secrets(kind) {
            return Some(rate);
        }
        // Rounded up, so that everybody has one try: n servers allow at most n - 1 more at once than is configured.
        let burst = NonZeroU32::new(rate.burst.get().div_ceil(self.nodes.get())).unwrap_or(NonZeroU32::MIN);
        Some(Rate { per_second: rate.per_second / f64::from(self.nodes.get()), burst })
    }
}

/// Whether more attempts mean more guesses at a secret, more accounts, or more unwanted mail.
fn protects_secrets(kind: LimitedAction) -> bool {
    matches!(
        kind,
        LimitedAction::Registration
            | LimitedAction::RegistrationTokenValidity
            | LimitedAction::InteractiveAuth
            | LimitedAction::LoginAddress
            | LimitedAction::LoginFailedAttempts
            | LimitedAction::ProofFailedAttempts
            | LimitedAction::ThirdPartyValidation
            | LimitedAction::LoginToken
    )
}

fn configured(rates: &config::RateLimits, kind: LimitedAction) -> Option<Rate> {
    if !rates.enabled {
        return None;
    }
    let rate = match kind {
        LimitedAction::Message => rates.message,
        LimitedAction::AdminRedaction => rates.admin_redaction?,
        LimitedAction::Registration => rates.registration,
        LimitedAction::RegistrationAvailable => rates.registration_available,
        LimitedAction::RegistrationTokenValidity => rates.registration_token_validity,
        LimitedAction::InteractiveAuth => rates.interactive_auth,
        LimitedAction::LoginAddress => rates.login.address,
        LimitedAction::LoginAccount => rates.login.account,
        LimitedAction::LoginFailedAttempts | LimitedAction::ProofFailedAttempts => rates.login.failed_attempts,
        LimitedAction::JoinsLocal => rates.joins.local,
        LimitedAction::JoinsRemote => rates.joins.remote,
        LimitedAction::JoinsPerRoom => rates.joins_per_room,
        LimitedAction::InvitesPerRoom => rates.invites.per_room,
        LimitedAction::InvitesPerUser => rates.invites.per_user,
        LimitedAction::InvitesPerIssuer => rates.invites.per_issuer,
        LimitedAction::ThirdPartyInvite => rates.third_party_invite,
        LimitedAction::RoomCreation => rates.room_creation,
        LimitedAction::RoomDirectory => rates.room_directory,
        LimitedAction::UserDirectory => rates.user_directory,
        LimitedAction::ThirdPartyValidation => rates.third_party_validation,
        LimitedAction::Presence => rates.presence_per_user,
        LimitedAction::MediaCreate => rates.media_create,
        LimitedAction::RemoteQueries => rates.remote_queries,
        LimitedAction::RemoteMedia => rates.remote_media,
        LimitedAction::ServerKeys => rates.server_keys,
        LimitedAction::ToDevice => rates.to_device,
        LimitedAction::LoginToken => rates.login_token,
        LimitedAction::Rendezvous => rates.rendezvous,
        LimitedAction::Report => rates.reports,
    };
    let burst = rate.burst.try_into().ok()?;
    Some(Rate { per_second: rate.per_second, burst })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate_with(nodes: u32, kind: LimitedAction) -> (f64, u32) {
        let mut configured = config::RateLimits::default();
        configured.login.failed_attempts = config::Rate { per_second: 0.3, burst: 4 };
        configured.message = config::Rate { per_second: 0.3, burst: 4 };
        let rate = Basis { configured, nodes: NonZeroU32::new(nodes).unwrap() }.rate(kind).unwrap();
        (rate.per_second, rate.burst.get())
    }

    #[test]
    fn nodes_share_what_protects_secrets_and_each_has_the_rest() {
        assert_eq!(rate_with(1, LimitedAction::LoginFailedAttempts), (0.3, 4));
        assert_eq!(rate_with(2, LimitedAction::LoginFailedAttempts), (0.15, 2));
        assert_eq!(rate_with(3, LimitedAction::LoginFailedAttempts).1, 2);
        assert_eq!(rate_with(9, LimitedAction::LoginFailedAttempts).1, 1);
        assert_eq!(rate_with(9, LimitedAction::Message), (0.3, 4));
    }
}
