//! Limits on how much heavy work runs at once, by the configuration.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use config::{Config, LimitSizes};
use tasks::limits::{Limit, LimitObserver, LimitSize, Reason};
use telemetry::{LimitMetrics, Metrics, MetricsError};

/// A limit for each kind of heavy work.
pub(crate) struct HeavyWork {
    pub(crate) password_hashing: Arc<Limit>,
    pub(crate) signature_checks: Arc<Limit>,
    pub(crate) user_directory_search: Arc<Limit>,
    pub(crate) room_directory_search: Arc<Limit>,
    pub(crate) message_search: Arc<Limit>,
    pub(crate) large_room_state: Arc<Limit>,
    pub(crate) initial_sync: Arc<Limit>,
    pub(crate) room_creation: Arc<Limit>,
    pub(crate) thumbnails: Arc<Limit>,
    pub(crate) server_keys: Arc<Limit>,
    pub(crate) remote_media: Arc<Limit>,
    pub(crate) remote_queries: Arc<Limit>,
    pub(crate) remote_rooms: Arc<Limit>,
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
            message_search: limit("message_search", sizes.message_search),
            large_room_state: limit("large_room_state", sizes.large_room_state),
            initial_sync: limit("initial_sync", sizes.initial_sync),
            room_creation: limit("room_creation", sizes.room_creation),
            thumbnails: limit("thumbnails", sizes.thumbnails),
            server_keys: limit("server_keys", sizes.server_keys),
            remote_media: limit("remote_media", sizes.remote_media),
            remote_queries: limit("remote_queries", sizes.remote_queries),
            remote_rooms: limit("remote_rooms", sizes.remote_rooms),
            federation_out: limit("federation_out", sizes.federation_out),
        }
    }

    /// Takes over the figures of a new configuration.
    pub(crate) fn reconfigure(&self, config: &Config) {
        for (limit, figures) in self.all(&config.limits.sizes()) {
            limit.resize(size(figures));
        }
    }

    fn all(&self, sizes: &LimitSizes) -> [(&Arc<Limit>, config::LimitSize); 14] {
        [
            (&self.password_hashing, sizes.password_hashing),
            (&self.signature_checks, sizes.signature_checks),
            (&self.user_directory_search, sizes.user_directory_search),
            (&self.room_directory_search, sizes.room_directory_search),
            (&self.message_search, sizes.message_search),
            (&self.large_room_state, sizes.large_room_state),
            (&self.initial_sync, sizes.initial_sync),
            (&self.room_creation, sizes.room_creation),
            (&self.thumbnails, sizes.thumbnails),
            (&self.server_keys, sizes.server_keys),
            (&self.remote_media, sizes.remote_media),
            (&self.remote_queries, sizes.remote_queries),
            (&self.remote_rooms, sizes.remote_rooms),
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
