//! Accounts and sessions on both databases, with a clock that the tests move.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly in the functions around it too")]

mod authentication;
mod registration;
mod sessions;
mod uia;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use accounts::Accounts;
use accounts::devices::Devices;
use accounts::passwords::{HashCost, Passwords};
use accounts::rate_limits::RateLimits;
use accounts::registration::{EmailPolicy, NewUser, Registered, Registration, RegistrationOptions};
use accounts::sessions::{CheckedDevice, Requester, SessionDevice, SessionOptions, Sessions};
use accounts::threepids::ThirdPartyIdentifiers;
use accounts::uia::{Authorisation, NewPassword, UserInteractiveAuth};
use homeserver_core::{Clock, FixedClock, Timestamp};
use ruma::{OwnedServerName, owned_server_name};
use storage::{Database, DatabaseOptions, Interned};
use tasks::limits::{Limit, LimitSize, Unobserved};
use tasks::queue::{JobQueue, QueueOptions};
use testing::TestDatabase;

/// How long an access token is valid here.
const LIFETIME: Duration = Duration::from_secs(600);

/// What the tests use of a server.
struct Parts {
    database: Database,
    clock: Arc<FixedClock>,
    sessions: Arc<Sessions>,
    devices: Devices,
    registration: Arc<Registration>,
    user_interactive_auth: UserInteractiveAuth,
    accounts: Arc<Accounts>,
}

impl Parts {
    async fn new(db: &TestDatabase) -> Self {
        let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
        let clock = Arc::new(FixedClock::new(Timestamp(1_700_000_000_000)));
        let shared: Arc<dyn Clock> = clock.clone();
        let name: OwnedServerName = owned_server_name!("example.org");
        let cost = HashCost { memory_bytes: 64 * 1024, iterations: 1 };
        let size = LimitSize { running: NonZeroUsize::MIN, waiting: 100, longest_wait: Duration::from_secs(10) };
        let limit = Arc::new(Limit::new("password_hashing", size, Arc::new(Unobserved)));
        let passwords = Some(Arc::new(Passwords::new(cost, limit).unwrap()));
        let options = SessionOptions { access_token_lifetime: LIFETIME };
        let sessions = Arc::new(Sessions::new(
            database.clone(),
            Arc::new(Interned::new(database.clone())),
            shared.clone(),
            options,
        ));
        let jobs = Arc::new(JobQueue::new(database.clone(), shared.clone(), QueueOptions::default()));
        let rate_limits = Arc::new(RateLimits::new(database.clone(), name.clone(), |_| None));
        let accounts = Arc::new(Accounts::new(
            database.clone(),
            shared.clone(),
            name.clone(),
            passwords.clone(),
            sessions.clone(),
            jobs,
            rate_limits.clone(),
        ));
        let options = RegistrationOptions { enabled: true, ..RegistrationOptions::default() };
        let registration =
            Registration::new(database.clone(), shared.clone(), name, options, passwords, sessions.clone());
        let registration = Arc::new(registration.with_email(EmailPolicy::Offered));
        let threepids = Arc::new(ThirdPartyIdentifiers::new(database.clone(), shared.clone(), None));
        Self {
            user_interactive_auth: UserInteractiveAuth::new(
                database.clone(),
                shared,
                accounts.clone(),
                registration.clone(),
                threepids,
                rate_limits,
            ),
            registration,
            devices: Devices::new(database.clone(), sessions.clone()),
            database,
            clock,
            sessions,
            accounts,
        }
    }

    /// Registers a user with a device.
    async fn register(&self, name: &str, wants_refresh_token: bool) -> Registered {
        let device = SessionDevice { wants_refresh_token, ..SessionDevice::default() };
        let user = NewUser {
            username: Some(name.to_owned()),
            password: Some(NewPassword::Plain("wonderland".to_owned())),
            device: Some(CheckedDevice::try_from(device).unwrap()),
            ..NewUser::default()
        };
        self.registration.register(user, Authorisation::default()).await.unwrap()
    }

    async fn requester(&self, registered: &Registered) -> Requester {
        let token = &registered.tokens.as_ref().unwrap().access_token;
        self.sessions.authenticate(token, None).await.unwrap()
    }
}
