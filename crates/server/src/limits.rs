//! The limits of a server, by its configuration: on how much heavy work runs at once, and on how often something is done.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use accounts::rate_limits::{Kind, Rate, RateLimits};
use config::{Config, LimitSizes};
use tasks::limits::{Limit, LimitObserver, LimitSize, Reason};
use tasks::loops::Loops;
use telemetry::{LimitMetrics, Metrics, MetricsError, RateLimitMetrics};

/// How often the rate limits forget whoever has been quiet, and read what other nodes have changed.
const TEND_EVERY: Duration = Duration::from_mins(1);

/// A limit for each kind of heavy work.
pub(crate) struct HeavyWork {
    pub(crate) password_hashing: Arc<Limit>,
    pub(crate) signature_checks: Arc<Limit>,
    pub(crate) user_directory_search: Arc<Limit>,
    pub(crate) room_directory_search: Arc<Limit>,
    pub(crate) large_room_state: Arc<Limit>,
    pub(crate) initial_sync: Arc<Limit>,
    pub(crate) room_creation: Arc<Limit>,
    pub(crate) thumbnails: Arc<Limit>,
    pub(crate) server_keys: Arc<Limit>,
    pub(crate) remote_media: Arc<Limit>,
    pub(crate) remote_queries: Arc<Limit>,
    pub(crate) federation_out: Arc<Limit>,
}

impl HeavyWork {
    /// The limits of the configuration, with their metrics.
    pub(crate) fn new(config: &Config, metrics: &Metrics) -> Result<Self, MetricsError> {
        let group = LimitMetrics::new(metrics)?;
        let limits = Self::with_observer(&config.limits.sizes(), &(Arc::new(Observer(group.clone())) as _));
        let all = limits.all(&config.limits.sizes()).map(|(limit, _)| limit.clone());
        metrics.before_reading(move || {
            for limit in &all {
                group.set_places(limit.name(), limit.running(), limit.waiting());
            }
        });
        Ok(limits)
    }

    fn with_observer(sizes: &LimitSizes, observer: &Arc<dyn LimitObserver>) -> Self {
        let limit = |name, figures| Arc::new(Limit::new(name, size(figures), observer.clone()));
        Self {
            password_hashing: limit("password_hashing", sizes.password_hashing),
            signature_checks: limit("signature_checks", sizes.signature_checks),
            user_directory_search: limit("user_directory_search", sizes.user_directory_search),
            room_directory_search: limit("room_directory_search", sizes.room_directory_search),
            large_room_state: limit("large_room_state", sizes.large_room_state),
            initial_sync: limit("initial_sync", sizes.initial_sync),
            room_creation: limit("room_creation", sizes.room_creation),
            thumbnails: limit("thumbnails", sizes.thumbnails),
            server_keys: limit("server_keys", sizes.server_keys),
            remote_media: limit("remote_media", sizes.remote_media),
            remote_queries: limit("remote_queries", sizes.remote_queries),
            federation_out: limit("federation_out", sizes.federation_out),
        }
    }

    /// Takes over the figures of a new configuration.
    pub(crate) fn reconfigure(&self, config: &Config) {
        for (limit, figures) in self.all(&config.limits.sizes()) {
            limit.resize(size(figures));
        }
    }

    fn all(&self, sizes: &LimitSizes) -> [(&Arc<Limit>, config::LimitSize); 12] {
        [
            (&self.password_hashing, sizes.password_hashing),
            (&self.signature_checks, sizes.signature_checks),
            (&self.user_directory_search, sizes.user_directory_search),
            (&self.room_directory_search, sizes.room_directory_search),
            (&self.large_room_state, sizes.large_room_state),
            (&self.initial_sync, sizes.initial_sync),
            (&self.room_creation, sizes.room_creation),
            (&self.thumbnails, sizes.thumbnails),
            (&self.server_keys, sizes.server_keys),
            (&self.remote_media, sizes.remote_media),
            (&self.remote_queries, sizes.remote_queries),
            (&self.federation_out, sizes.federation_out),
        ]
    }
}

fn size(figures: config::LimitSize) -> LimitSize {
    let running = usize::try_from(figures.running).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN);
    let waiting = usize::try_from(figures.waiting).unwrap_or(usize::MAX);
    LimitSize { running, waiting, longest_wait: figures.longest_wait }
}

/// A limit of password hashing for a command that runs beside no server.
pub(crate) fn password_hashing_alone(config: &Config) -> Arc<Limit> {
    let figures = config.limits.sizes().password_hashing;
    Arc::new(Limit::new("password_hashing", size(figures), Arc::new(tasks::limits::Unobserved)))
}

struct Observer(LimitMetrics);

impl LimitObserver for Observer {
    fn entered(&self, limit: &'static str, waited: Duration) {
        self.0.entered(limit, waited);
    }

    fn refused(&self, limit: &'static str, reason: Reason) {
        let reason = match reason {
            Reason::QueueFull => "queue_full",
            Reason::WaitedTooLong => "waited_too_long",
        };
        self.0.refused(limit, reason);
    }
}

/// The rate that the configuration gives to a kind of action; `None` without a limit.
pub(crate) fn rate_of(config: &Config, kind: Kind) -> Option<Rate> {
    let rates = &config.rate_limits;
    if !rates.enabled {
        return None;
    }
    let rate = match kind {
        Kind::Message => rates.message,
        Kind::AdminRedaction => rates.admin_redaction?,
        Kind::Registration => rates.registration,
        Kind::RegistrationAvailable => rates.registration_available,
        Kind::RegistrationTokenValidity => rates.registration_token_validity,
        Kind::InteractiveAuth => rates.interactive_auth,
        Kind::LoginAddress => rates.login.address,
        Kind::LoginAccount => rates.login.account,
        Kind::LoginFailedAttempts | Kind::ProofFailedAttempts => rates.login.failed_attempts,
        Kind::JoinsLocal => rates.joins.local,
        Kind::JoinsRemote => rates.joins.remote,
        Kind::JoinsPerRoom => rates.joins_per_room,
        Kind::InvitesPerRoom => rates.invites.per_room,
        Kind::InvitesPerUser => rates.invites.per_user,
        Kind::InvitesPerIssuer => rates.invites.per_issuer,
        Kind::RoomCreation => rates.room_creation,
        Kind::RoomDirectory => rates.room_directory,
        Kind::UserDirectory => rates.user_directory,
        Kind::ThirdPartyValidation => rates.third_party_validation,
        Kind::Presence => rates.presence_per_user,
        Kind::MediaCreate => rates.media_create,
        Kind::RemoteQueries => rates.remote_queries,
        Kind::RemoteMedia => rates.remote_media,
        Kind::ServerKeys => rates.server_keys,
    };
    let burst = rate.burst.try_into().ok()?;
    Some(Rate { per_second: rate.per_second, burst })
}

/// Registers the metrics of the rate limits, and tends them in one of the server's `loops`.
pub(crate) fn tend(limits: &Arc<RateLimits>, metrics: &Metrics, loops: &Loops) -> Result<(), MetricsError> {
    let group = RateLimitMetrics::new(metrics)?;
    metrics.before_reading({
        let limits = limits.clone();
        move || {
            for counts in limits.counts() {
                group.set(counts.kind.name(), counts.refused, counts.keys);
            }
        }
    });
    let limits = limits.clone();
    loops.spawn("rate limits", move || tend_forever(limits.clone()));
    Ok(())
}

async fn tend_forever(limits: Arc<RateLimits>) {
    loop {
        tokio::time::sleep(TEND_EVERY).await;
        if let Err(error) = limits.tend().await {
            tracing::warn!(%error, "the rate limits of single users may be old");
        }
    }
}
