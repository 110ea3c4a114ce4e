//! The composition root: every component is made here, one after the other, and given exactly what it needs.
//!
//! To add a component: construct it in [`compose`] below what it needs, and name it in the [`Components`] of the API.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ::federation::ServerRates;
use accounts::Accounts;
use accounts::account_data::AccountData;
use accounts::capabilities::Capabilities;
use accounts::devices::Devices;
use accounts::discovery::Discovery;
use accounts::filters::Filters;
use accounts::ignoring::IgnoredUsers;
use accounts::passwords::Passwords;
use accounts::profiles::Profiles;
use accounts::push_rules::PushRules;
use accounts::rate_limits::RateLimits;
use accounts::registration::{Registration, SharedSecret};
use accounts::sessions::{SessionOptions, Sessions};
use accounts::threepids::ThirdPartyIdentifiers;
use accounts::uia::UserInteractiveAuth;
use api::{ApiState, Components, RequestObserver};
use axum::Router;
use background::{BackgroundJobs, Statistics, WorkOutStates};
use config::{ClientTraces, Config, Resource, Sources};
use encryption::backup::Backups;
use encryption::device_lists::DeviceLists;
use encryption::keys::Keys;
use encryption::to_device::{QueueLimits, ToDevice};
use event_log::{LogFollower, LogTail, UserRoomsCache, Wakeups};
use homeserver_core::{Clock, Identity, MemoryBudget, SystemClock};
use http::{Method, StatusCode};
use media::{ContentRepository, MediaFiles};
use push::unread::Audiences;
use rooms::reading::{History, RoomState};
use rooms::user_directory::UserDirectory;
use rooms::{Aliases, Directory, Memberships, RoomCheck, RoomCreation, Sending, Timeline};
use storage::{Database, DatabaseOptions, Interned, RoomStates, ServerLock, StorageError};
use sync::presence::{PresenceOptions, Presences};
use sync::receipts::Receipts;
use sync::typing::Typing;
use sync::v3::{Sync, SyncedDevices};
use tasks::limits::Limit;
use tasks::{loops::Loops, queue::JobQueue};
use telemetry::{HealthProbe, Metrics, RemoteTraces, SpanCounts};
use tokio_util::sync::CancellationToken;

use crate::{
    StartError, email,
    email::Email,
    federation::{self, Federation},
    identity::{self, OwnKey},
    jobs,
    limits::{self, HeavyWork},
    nodes::{self, ThisNode},
    observing::{self, ObservedDatabase},
    reconfiguring::{
        Reconfigurable, capability_options, configure_memory, hash_cost, media_options, password_policy,
        registration_options, shared_secret,
    },
};

/// What the components are made of.
pub(crate) struct Needs<'a> {
    pub(crate) config: &'a Config,
    pub(crate) clock: Arc<dyn Clock>,
    /// The right to run on the database.
    pub(crate) lock: ServerLock,
    /// Cancelled when the server stops: requests that wait for something to happen then answer at once.
    pub(crate) stopping: CancellationToken,
}

/// The composed server, without its listeners.
pub(crate) struct Application {
    state: ApiState,
    health: Arc<HealthProbe>,
    metrics: Arc<Metrics>,
    observer: Arc<dyn RequestObserver>,
    sessions: Arc<Sessions>,
    registration: Arc<Registration>,
    reconfigurable: Reconfigurable,
    jobs: Arc<JobQueue>,
    heavy_work: HeavyWork,
    rate_limits: Arc<RateLimits>,
    server_rates: Arc<ServerRates>,
    is_federated: bool,
    database: Database,
    lock: ServerLock,
    node: Option<ThisNode>,
    loops: Loops,
}

/// Makes every component.
pub(crate) async fn compose(needs: Needs<'_>) -> Result<Application, StartError> {
    let Needs { config, clock, lock, stopping } = needs;
    let server_name = config.server.name.clone();

    let metrics = Arc::new(Metrics::new()?);
    let observer = ObservedDatabase(metrics.database().clone());
    let options = database_options(config, clock.clone());
    let database = Database::open_for_server(&options, Arc::new(observer)).await;
    let database = database.map_err(|error| cannot_open(config, error))?;
    let OwnKey { signing_key, retired } = identity::establish(config, &database, clock.as_ref()).await?;
    let loops = Loops::until(stopping.clone());
    let node = ThisNode::enter(&database, clock.clone(), &loops).await?;
    observing::observe_database(&metrics, &database);
    let observer = request_observer(metrics.clone());
    let heavy_work = HeavyWork::new(config, &metrics)?;
    let rates = |kind| limits::rate_of(config, kind);
    let rate_limits = Arc::new(RateLimits::new(database.clone(), server_name.clone(), rates));
    rate_limits.tend().await?;
    limits::tend(&rate_limits, &metrics, &loops)?;
    let queue = Arc::new(JobQueue::new(database.clone(), clock.clone(), jobs::options(config)));

    metrics.observe_caches(database.memory().clone());
    let capabilities = Arc::new(Capabilities::new(&capability_options(config)));
    let discovery = Arc::new(Discovery::new(config.server.public_base_url.as_ref().map(config::WebUrl::as_str), None));

    let interned = Arc::new(Interned::new(database.clone()));
    WorkOutStates::schedule_if_needed(&database, clock.as_ref()).await?;
    let identity = Arc::new(Identity { server_name: server_name.clone(), key_pair: signing_key });
    let Federation { gate, own_keys, key_requests, remote, remote_media, rates: server_rates } =
        Federation::new(config, (&identity, retired), &heavy_work, &rate_limits, &metrics, &clock, database.memory())?;
    let patience = config.rooms.full_state_timeout.duration();
    let states = RoomStates::follow(&database, server_name.as_str(), patience, stopping.clone()).await?;
    let tail = Arc::new(LogTail::new(database.settled_position().await?));
    let user_rooms = Arc::new(UserRoomsCache::new(database.clone()));
    let wakeups = Arc::new(Wakeups::default());
    // Before the log's tail: whoever finds there that somebody types asks here who does.
    let typing = Typing::start(database.clone(), interned.clone(), clock.clone(), &loops).await?;
    let typing = Arc::new(typing);
    // Before the log's tail as well: whom a user ignores is what the log has told.
    let ignored_users = IgnoredUsers::follow(&database);
    // And so is what waits for devices, and which keys they have.
    let to_device = ToDevice::follow(&database, interned.clone(), clock.clone(), QueueLimits::default());
    let keys = Keys::follow(&database, interned.clone(), server_name.clone());
    let log = metrics.log().clone();
    let lag = Box::new(move |lag| log.followed(lag));
    let progress = LogFollower::start_observed(&database, tail.clone(), user_rooms.clone(), wakeups.clone(), lag);
    observing::observe_log(&metrics, progress.clone());
    let presences = Presences::start(
        database.clone(),
        interned.clone(),
        clock.clone(),
        user_rooms.clone(),
        wakeups.clone(),
        presence_options(config),
        &loops,
    );
    let presences = presences.await?;
    let data_dir = config.server.data_dir.clone();
    let health = observing::health_probe(metrics.clone(), &database, progress, data_dir, &loops);

    let sessions =
        Arc::new(Sessions::new(database.clone(), interned.clone(), clock.clone(), SessionOptions::default()));
    sessions.follow(stopping.clone());
    let passwords = password_hashing(config, heavy_work.password_hashing.clone())?;
    let accounts = Arc::new(Accounts::new(
        database.clone(),
        clock.clone(),
        server_name.clone(),
        Some(passwords.clone()),
        sessions.clone(),
        queue.clone(),
        rate_limits.clone(),
    ));
    let registration = Registration::new(
        database.clone(),
        clock.clone(),
        server_name,
        registration_options(config),
        Some(passwords.clone()),
        sessions.clone(),
    );
    let registration = Arc::new(registration.with_email(email::registration_policy(config)));
    let email = Email::new(config)?;
    let mail_templates = email.as_ref().map(|email| email.templates.clone());
    let mails = email::mails(email, config, &database, &clock);
    let threepids = ThirdPartyIdentifiers::new(database.clone(), clock.clone(), email::validation(config));
    let threepids = Arc::new(threepids);
    let secret = shared_secret(config);
    let shared_secret =
        SharedSecret::new(database.clone(), clock.clone(), registration.clone(), rate_limits.clone(), secret);
    let shared_secret = Arc::new(shared_secret);
    let user_interactive_auth =
        UserInteractiveAuth::new(database.clone(), clock.clone(), accounts.clone(), rate_limits.clone());
    let devices = Arc::new(Devices::new(database.clone(), sessions.clone()));
    let profiles = Arc::new(Profiles::new(database.clone(), clock.clone(), queue.clone()));
    let account_data = Arc::new(AccountData::new(database.clone(), interned.clone()));
    let filters = Arc::new(Filters::new(database.clone()));
    let push_rules = Arc::new(PushRules::new(database.clone()));
    let receipts = Arc::new(Receipts::new(database.clone(), interned.clone(), clock.clone()));

    let audiences = Audiences::follow(&database, interned.clone());
    let timeline = Arc::new(Timeline::new(
        database.clone(),
        interned.clone(),
        states.clone(),
        identity.clone(),
        clock.clone(),
        heavy_work.signature_checks.clone(),
        audiences,
    ));
    timeline.follow();
    let aliases = Aliases::new(database.clone(), interned.clone(), identity.clone(), timeline.clone(), clock.clone());
    let aliases = Arc::new(aliases);
    let room_creation = Arc::new(RoomCreation::new(
        database.clone(),
        interned.clone(),
        identity.clone(),
        timeline.clone(),
        aliases.clone(),
        profiles.clone(),
        config.rooms.default_version.clone(),
        rate_limits.clone(),
        heavy_work.room_creation.clone(),
    ));
    let memberships = Arc::new(Memberships::new(
        database.clone(),
        interned.clone(),
        identity.clone(),
        timeline.clone(),
        aliases.clone(),
        profiles.clone(),
        rate_limits.clone(),
    ));
    let sending = Arc::new(Sending::new(
        timeline.clone(),
        aliases.clone(),
        memberships.clone(),
        rate_limits.clone(),
        clock.clone(),
    ));
    let searching = heavy_work.room_directory_search.clone();
    let directory = Arc::new(Directory::new(database.clone(), interned.clone(), timeline.clone(), searching));
    let searching = heavy_work.user_directory_search.clone();
    let user_directory =
        Arc::new(UserDirectory::new(database.clone(), interned.clone(), rate_limits.clone(), searching));
    let history = Arc::new(History::new(
        database.clone(),
        interned.clone(),
        states.clone(),
        clock.clone(),
        ignored_users.clone(),
        tail.clone(),
    ));
    let large_rooms = heavy_work.large_room_state.clone();
    let room_state =
        Arc::new(RoomState::new(database.clone(), interned.clone(), states.clone(), clock.clone(), large_rooms));
    let media = Arc::new(ContentRepository::new(
        database.clone(),
        clock.clone(),
        identity.clone(),
        rate_limits.clone(),
        MediaFiles::new(config.media_path()),
        remote_media,
        heavy_work.thumbnails.clone(),
        media_options(config),
        stopping.clone(),
    ));
    media.follow();
    let background_jobs = Arc::new(BackgroundJobs::new(database.clone(), clock.clone()));
    let statistics = Arc::new(Statistics::new(database.clone()));
    let needs = jobs::Needs {
        config,
        database: &database,
        clock: &clock,
        interned: &interned,
        sessions: &sessions,
        media: &media,
        memberships: &memberships,
        metrics: &metrics,
        mails: mails.as_ref(),
    };
    jobs::start(&queue, &needs, &loops);
    let device_lists = DeviceLists::new(database.clone(), interned.clone(), tail.clone(), user_rooms.clone());
    let device_lists = Arc::new(device_lists);
    let initial = heavy_work.initial_sync.clone();
    let sync = Sync::new(
        database.clone(),
        interned,
        states.clone(),
        clock,
        tail,
        user_rooms,
        ignored_users,
        wakeups,
        typing.clone(),
        presences.clone(),
        initial,
        stopping,
    );
    let sync = Arc::new(sync.with_devices(SyncedDevices {
        to_device: to_device.clone(),
        keys: keys.clone(),
        device_lists: device_lists.clone(),
    }));
    observing::observe_sync(&metrics, sync.clone());

    let reconfigurable = Reconfigurable {
        memory: database.memory().clone(),
        capabilities: capabilities.clone(),
        discovery: discovery.clone(),
        passwords,
        registration: registration.clone(),
        shared_secret: shared_secret.clone(),
        room_creation: room_creation.clone(),
        states: states.clone(),
        media: media.clone(),
    };
    let components = Components {
        observer: Some(observer.clone()),
        client_traces: client_traces(config),
        capabilities,
        discovery,
        sessions: sessions.clone(),
        accounts,
        registration: registration.clone(),
        shared_secret,
        user_interactive_auth: Arc::new(user_interactive_auth),
        threepids,
        mail_templates,
        devices,
        profiles,
        account_data,
        push_rules,
        receipts,
        typing,
        presences,
        filters,
        identity,
        room_creation,
        memberships,
        sending,
        aliases,
        directory,
        user_directory,
        timeline,
        history,
        room_state,
        gate,
        own_keys,
        key_requests,
        remote,
        media,
        rate_limits: rate_limits.clone(),
        to_device,
        keys,
        backups: Arc::new(Backups::new(database.clone())),
        device_lists,
        sync,
        background_jobs,
        statistics,
    };
    Ok(Application {
        state: ApiState::new(components),
        health,
        metrics,
        observer,
        sessions,
        registration,
        reconfigurable,
        heavy_work,
        rate_limits,
        server_rates,
        is_federated: config.federation.enabled,
        jobs: queue,
        database,
        lock,
        node,
        loops,
    })
}

/// Checks rooms on the word of the operator, without a server around it.
pub(crate) async fn room_check(config: &Config) -> Result<(RoomCheck, Database), StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let database = open_database(config, clock).await?;
    let interned = Arc::new(Interned::new(database.clone()));
    Ok((RoomCheck::new(database.clone(), interned), database))
}

/// The components that change accounts on the word of the operator, without a server around them.
pub(crate) struct OfOperator {
    pub(crate) accounts: Accounts,
    pub(crate) registration: Registration,
    pub(crate) database: Database,
}

/// Makes them.
pub(crate) async fn of_operator(config: &Config) -> Result<OfOperator, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let database = open_database(config, clock.clone()).await?;
    let interned = Arc::new(Interned::new(database.clone()));
    let sessions = Arc::new(Sessions::new(database.clone(), interned, clock.clone(), SessionOptions::default()));
    let (name, options) = (config.server.name.clone(), registration_options(config));
    let passwords = Some(password_hashing(config, limits::password_hashing_alone(config))?);
    // Jobs are scheduled, and done by the server.
    let queue = Arc::new(JobQueue::new(database.clone(), clock.clone(), jobs::options(config)));
    let rate_limits = Arc::new(RateLimits::new(database.clone(), name.clone(), |_| None));
    let accounts = Accounts::new(
        database.clone(),
        clock.clone(),
        name.clone(),
        passwords.clone(),
        sessions.clone(),
        queue,
        rate_limits,
    );
    let registration = Registration::new(database.clone(), clock, name, options, passwords, sessions);
    Ok(OfOperator { accounts, registration, database })
}

impl Application {
    /// The routers of these resources, as one.
    pub(crate) fn router(&self, resources: &BTreeSet<Resource>) -> Router {
        let is_served = |resource: &Resource| self.is_federated || *resource != Resource::Federation;
        let resources: Vec<_> = resources.iter().copied().filter(is_served).map(of_api).collect();
        let observer = Some(self.observer.clone());
        let operations = api::ops::router(self.health.clone(), self.metrics.clone(), observer, &resources);
        api::router(self.state.clone(), &resources).merge(operations)
    }

    /// The token that makes the first account an administrator, as long as there is no account.
    pub(crate) async fn first_account_token(&self) -> Result<Option<String>, StartError> {
        Ok(self.registration.first_account_token().await?)
    }

    /// Has the metrics tell of the process's traces.
    pub(crate) fn observe_traces(&self, counts: Arc<SpanCounts>) {
        self.metrics.observe_traces(counts);
    }

    /// What runs in the background.
    pub(crate) fn loops(&self) -> Loops {
        self.loops.clone()
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Applies what a running server can change, and nothing else: the keys that `config` lists as reloadable.
    ///
    /// # Errors
    /// If something in it cannot be used; nothing has changed then.
    pub(crate) fn reconfigure(&self, config: &Config, sources: &Sources) -> Result<(), config::Error> {
        self.reconfigurable.apply(config, sources)?;
        self.heavy_work.reconfigure(config);
        self.rate_limits.reconfigure(|kind| limits::rate_of(config, kind));
        self.server_rates.reconfigure(federation::rate(config));
        Ok(())
    }

    /// Gives jobs that run `grace` to end, and returns the others, which run again at the next start.
    pub(crate) async fn stop_jobs(&self, grace: Duration) {
        self.jobs.stop(grace).await;
    }

    /// Finishes what the components still have to write.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.sessions.flush().await {
            tracing::warn!(%error, "when devices were last seen was not written");
        }
        if let Some(node) = &self.node {
            node.leave().await;
        }
        self.database.close().await;
        // The last: the next server may begin as soon as nothing is written any more.
        self.lock.release();
    }
}

fn password_hashing(config: &Config, limit: Arc<Limit>) -> Result<Arc<Passwords>, StartError> {
    let passwords = Passwords::new(hash_cost(config), limit)?;
    passwords.reconfigure(hash_cost(config), password_policy(config), config.passwords.enabled)?;
    Ok(Arc::new(passwords))
}

/// `clock` says how old what is kept in memory is.
async fn open_database(config: &Config, clock: Arc<dyn Clock>) -> Result<Database, StartError> {
    let database = Database::open(&database_options(config, clock)).await;
    let database = database.map_err(|error| cannot_open(config, error))?;
    identity::check_name(config, &database).await?;
    Ok(database)
}

/// The right to run a server on the configured database.
pub(crate) async fn lock(config: &Config, clock: Arc<dyn Clock>) -> Result<ServerLock, StartError> {
    ServerLock::take(&database_options(config, clock)).await.map_err(|error| cannot_open(config, error))
}

/// What a command needs that changes the server's keys: the database, and the right to run on it.
pub(crate) async fn keys(config: &Config) -> Result<(Database, ServerLock), StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let lock = lock(config, clock.clone()).await?;
    let database = open_database(config, clock.clone()).await?;
    nodes::check_none(&database, &*clock).await.map_err(|error| cannot_open(config, error))?;
    Ok((database, lock))
}

fn cannot_open(config: &Config, error: StorageError) -> StartError {
    StartError::Database { url: config.database_url(), error }
}

fn database_options(config: &Config, clock: Arc<dyn Clock>) -> DatabaseOptions {
    let pool = config.pool();
    let memory = MemoryBudget::new(config.caches.memory_budget.bytes(), clock);
    configure_memory(&memory, config);
    DatabaseOptions {
        url: config.database_url().reveal().to_owned(),
        min_connections: pool.min_connections,
        max_connections: pool.max_connections,
        connect_timeout: pool.connect_timeout,
        idle_timeout: pool.idle_timeout,
        max_lifetime: pool.max_lifetime,
        memory,
        synchronous: match config.database.synchronous {
            config::Synchronous::Full => storage::Synchronous::Full,
            config::Synchronous::Normal => storage::Synchronous::Normal,
        },
    }
}

fn presence_options(config: &Config) -> PresenceOptions {
    let presence = &config.presence;
    PresenceOptions {
        enabled: presence.enabled,
        idle_after: presence.idle_after.duration(),
        offline_after: presence.offline_after.duration(),
    }
}

fn client_traces(config: &Config) -> RemoteTraces {
    match config.telemetry.client_traces {
        ClientTraces::Ignore => RemoteTraces::Ignore,
        ClientTraces::Link => RemoteTraces::Link,
        ClientTraces::Continue => RemoteTraces::Continue,
    }
}

fn request_observer(metrics: Arc<Metrics>) -> Arc<dyn RequestObserver> {
    Arc::new(move |method: &Method, route: Option<&str>, status: StatusCode, took: Duration| {
        metrics.request_answered(bounded(method), route.unwrap_or("none"), status.as_u16(), took);
    })
}

/// Anyone can invent a method; the metrics know those in use.
fn bounded(method: &Method) -> &str {
    match *method {
        Method::GET | Method::POST | Method::PUT | Method::DELETE | Method::OPTIONS | Method::HEAD => method.as_str(),
        _ => "other",
    }
}

fn of_api(resource: Resource) -> api::Resource {
    match resource {
        Resource::Client => api::Resource::Client,
        Resource::Federation => api::Resource::Federation,
        Resource::Media => api::Resource::Media,
        Resource::Admin => api::Resource::Admin,
        Resource::Health => api::Resource::Health,
        Resource::Metrics => api::Resource::Metrics,
    }
}
