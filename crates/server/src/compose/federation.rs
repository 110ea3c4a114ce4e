//! Federation as the configuration wants it.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use accounts::asking::Shares;
use accounts::rate_limits::LimitedAction;
use api::state::FederationComponents;
use config::Config;
use federation::{
    Client, ClientObserver, ClientOptions, Discovery, Gate, OldKey, Outcome, OwnKeys, Reachability, ServerKeys,
    ServerKeysParts, ServerRate, ServerRates, SystemLookups,
    transport::{Dialler, Web, tls_config},
};
use http::HeaderMap;
use media::RemoteMedia;
use rooms::remote::RemoteQueries;
use storage::SigningKey;
use telemetry::FederationMetrics;

use super::foundation::Foundation;
use crate::StartError;

/// What talks to other servers.
pub(crate) struct FederationParts {
    pub(super) components: FederationComponents,
    pub(super) remote_media: RemoteMedia,
    /// Asks other servers.
    pub(super) client: Arc<Client>,
    /// Asks hosts that are not homeservers.
    pub(super) web: Web,
    /// Their keys.
    pub(super) keys: Arc<ServerKeys>,
    /// Which of them are not reached.
    pub(super) reachability: Arc<Reachability>,
    rates: Arc<ServerRates>,
}

impl FederationParts {
    /// Reads certificates, and connects to nobody yet.
    pub(super) fn new(config: &Config, foundation: &Foundation) -> Result<Self, StartError> {
        let Foundation { identity, heavy_work, rate_limits, clock, .. } = foundation;
        let counts = FederationMetrics::new(&foundation.metrics)?;
        let database = &foundation.database;
        let reachability = Arc::new(Reachability::new(database.clone(), clock.clone()));
        let network = &config.network;
        let tls = tls_config(&network.trusted_ca, network.verify_tls)?;
        let dialler = Dialler::new(tls, network.allow_private_addresses);
        let web = Web::new(dialler.clone());
        let client = client(config, foundation, (counts.clone(), reachability.clone()), (dialler, web.clone()));
        let client = Arc::new(client);
        let (server_name, key_pair) = (identity.server_name.clone(), identity.key_pair.clone());
        let old = foundation.retired_keys.iter().filter_map(old_key).collect();
        let own_keys = Arc::new(OwnKeys::new(server_name.clone(), key_pair, old, clock.clone()));
        let keys = ServerKeysParts {
            client: client.clone(),
            limit: heavy_work.server_keys.clone(),
            clock: clock.clone(),
            own: own_keys.clone(),
            notaries: config.federation.trusted_key_servers.clone(),
            database: database.clone(),
        };
        let keys = Arc::new(ServerKeys::new(keys, database.memory()));
        let rates = Arc::new(ServerRates::new(rate(config)));
        foundation.metrics.before_reading({
            let (rates, reachability) = (rates.clone(), reachability.clone());
            move || {
                counts.set_refused(rates.refused());
                counts.set_paused_servers(reachability.paused());
            }
        });
        let key_requests = Shares::new(LimitedAction::ServerKeys, rate_limits.clone(), heavy_work.server_keys.clone());
        let checks = heavy_work.signature_checks.clone();
        let remote_media = RemoteMedia::new(client.clone(), heavy_work.remote_media.clone(), rate_limits.clone());
        let components = FederationComponents {
            gate: Arc::new(Gate::new(
                server_name,
                keys.clone(),
                checks,
                rates.clone(),
                reachability.clone(),
                clock.clone(),
            )),
            own_keys,
            server_keys: keys.clone(),
            key_requests: Arc::new(key_requests),
            remote: Arc::new(RemoteQueries::new(
                client.clone(),
                heavy_work.remote_queries.clone(),
                rate_limits.clone(),
            )),
        };
        Ok(Self { components, remote_media, client, web, keys, reachability, rates })
    }

    /// Takes over the rate of a new configuration.
    pub(super) fn reconfigure(&self, config: &Config) {
        self.rates.reconfigure(rate(config));
    }
}

fn client(
    config: &Config,
    foundation: &Foundation,
    (counts, reachability): (FederationMetrics, Arc<Reachability>),
    (dialler, web): (Dialler, Web),
) -> Client {
    let Foundation { identity, heavy_work, database, .. } = foundation;
    let lookups = Arc::new(SystemLookups::new(web));
    let addresses = config.federation.server_addresses.clone();
    let discovery = Arc::new(Discovery::new(lookups, addresses, database.memory()));
    let options = ClientOptions {
        is_enabled: config.federation.enabled,
        server_name: identity.server_name.clone(),
        key_pair: identity.key_pair.clone(),
        limit: heavy_work.federation_out.clone(),
        observer: Arc::new(Observer(counts)),
        reachability,
    };
    Client::new(options, discovery, dialler)
}

/// How much one other server may ask for; `None` without a limit.
fn rate(config: &Config) -> Option<ServerRate> {
    let rate = config.rate_limits.enabled.then_some(&config.rate_limits.federation)?;
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    Some(ServerRate {
        window: rate.window_size.duration(),
        sleep_limit: count(rate.sleep_limit),
        sleep_delay: rate.sleep_delay.duration(),
        reject_limit: count(rate.reject_limit),
        concurrent: NonZeroUsize::new(count(rate.concurrent)).unwrap_or(NonZeroUsize::MIN),
    })
}

fn old_key(key: &SigningKey) -> Option<OldKey> {
    Some(OldKey { key_id: key.key_id.clone(), public_key: key.public_key.clone(), expired_at: key.retired_at? })
}

struct Observer(FederationMetrics);

impl ClientObserver for Observer {
    fn sending(&self, headers: &mut HeaderMap) {
        telemetry::inject_trace_context(headers);
    }

    fn ended(&self, outcome: Outcome, took: Duration) {
        match outcome {
            Outcome::Answered(status) => self.0.answered(status.as_u16(), took),
            Outcome::Failed => self.0.failed(took),
            Outcome::TimedOut => self.0.timed_out(took),
        }
    }
}
