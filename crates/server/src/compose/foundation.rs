use std::sync::Arc;

use accounts::rate_limits::RateLimits;
use config::Config;
use homeserver_core::{Clock, Identity, MemoryBudget};
use storage::{Database, Interned, SigningKey};
use tasks::{loops::Loops, queue::JobQueue};
use telemetry::Metrics;
use tokio_util::sync::CancellationToken;

use super::{
    database::{cannot_open, database_options},
    heavy_work::HeavyWork,
    jobs,
    observing::{self, ObservedDatabase},
    rate_limits::ConfiguredRateLimits,
};
use crate::{
    StartError,
    identity::{self, OwnKey},
    nodes::ThisNode,
};

/// What the components of every domain are built on.
pub(crate) struct Foundation {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stopping: CancellationToken,
    pub(super) loops: Loops,
    pub(super) metrics: Arc<Metrics>,
    pub(super) database: Database,
    pub(super) interned: Arc<Interned>,
    pub(super) identity: Arc<Identity>,
    /// The keys that signed for this server before.
    pub(super) retired_keys: Vec<SigningKey>,
    /// `None` on SQLite, where a server is alone.
    pub(super) node: Option<ThisNode>,
    pub(super) heavy_work: HeavyWork,
    pub(super) rate_limits: Arc<RateLimits>,
    rates: Arc<ConfiguredRateLimits>,
    pub(super) jobs: Arc<JobQueue>,
}

impl Foundation {
    /// Opens the database, and checks that it belongs to this server.
    pub(super) async fn new(
        config: &Config,
        clock: Arc<dyn Clock>,
        stopping: CancellationToken,
    ) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new()?);
        let observer = ObservedDatabase(metrics.database().clone());
        let options = database_options(config, clock.clone());
        let database = Database::open_for_server(&options, Arc::new(observer)).await;
        let database = database.map_err(|error| cannot_open(config, error))?;
        let OwnKey { signing_key, retired } = identity::establish(config, &database, clock.as_ref()).await?;
        let loops = Loops::until(stopping.clone());
        let node = ThisNode::enter(&database, clock.clone(), &loops).await?;
        observing::observe_database(&metrics, &database);
        metrics.observe_caches(database.memory().clone());
        let heavy_work = HeavyWork::new(config, &metrics)?;
        let jobs = Arc::new(JobQueue::new(database.clone(), clock.clone(), jobs::options(config)));
        let interned = Arc::new(Interned::new(database.clone()));
        let identity = Arc::new(Identity { server_name: config.server.name.clone(), key_pair: signing_key });
        let rates = ConfiguredRateLimits::new(config, &database, &identity, node.as_ref(), &loops).await?;
        rates.tend(&metrics, &loops)?;
        Ok(Self {
            clock,
            stopping,
            loops,
            metrics,
            database,
            interned,
            identity,
            retired_keys: retired,
            node,
            heavy_work,
            rate_limits: rates.limits.clone(),
            rates,
            jobs,
        })
    }

    /// Takes over the limits and the memory budget of a new configuration.
    pub(super) fn reconfigure(&self, config: &Config) {
        configure_memory(self.database.memory(), config);
        self.heavy_work.reconfigure(config);
        self.rates.reconfigure(config);
    }
}

/// Sets the budget of all caches, and how long their entries are used.
pub(super) fn configure_memory(memory: &MemoryBudget, config: &Config) {
    memory.set_bytes(config.caches.memory_budget.bytes());
    memory.set_time_to_live(config.caches.time_to_live.map(config::Period::duration));
}
