//! The components that handlers use. A handler lists exactly those it needs: `State(sessions): State<Arc<Sessions>>`.

use std::sync::Arc;

use accounts::Accounts;
use accounts::account_data::AccountData;
use accounts::asking::Shares;
use accounts::capabilities::Capabilities;
use accounts::devices::Devices;
use accounts::discovery::Discovery;
use accounts::filters::Filters;
use accounts::mail::Templates;
use accounts::profiles::Profiles;
use accounts::push_rules::PushRules;
use accounts::rate_limits::RateLimits;
use accounts::registration::{Registration, SharedSecret};
use accounts::sessions::Sessions;
use accounts::threepids::ThirdPartyIdentifiers;
use accounts::uia::UserInteractiveAuth;
use axum::extract::FromRef;
use background::{BackgroundJobs, Statistics};
use encryption::backup::Backups;
use encryption::device_lists::DeviceLists;
use encryption::keys::Keys;
use encryption::to_device::ToDevice;
use federation::{Gate, OwnKeys};
use homeserver_core::Identity;
use media::ContentRepository;
use rooms::reading::{History, RoomState};
use rooms::remote::RemoteQueries;
use rooms::user_directory::UserDirectory;
use rooms::{Aliases, Directory, Memberships, RoomCreation, Sending, Timeline};
use sync::presence::Presences;
use sync::receipts::Receipts;
use sync::typing::Typing;
use sync::v3::Sync;
use telemetry::RemoteTraces;

use crate::edge::RequestObserver;

macro_rules! components {
    ($($(#[$doc:meta])* $field:ident: $component:ty,)*) => {
        /// Every component that some handler uses.
        pub struct Components {
            $($(#[$doc])* pub $field: $component,)*
        }

        $(impl FromRef<ApiState> for $component {
            fn from_ref(state: &ApiState) -> Self {
                state.0.$field.clone()
            }
        })*
    };
}

components! {
    /// Told about every request that was answered; the metrics.
    observer: Option<Arc<dyn RequestObserver>>,
    /// What becomes of the traces that clients say their requests belong to.
    client_traces: RemoteTraces,
    /// What this server tells about itself in `/capabilities`.
    capabilities: Arc<Capabilities>,
    /// What this server tells about itself in `/.well-known`.
    discovery: Arc<Discovery>,
    /// Who an access token belongs to.
    sessions: Arc<Sessions>,
    /// Accounts that exist.
    accounts: Arc<Accounts>,
    /// How accounts come into being.
    registration: Arc<Registration>,
    /// How accounts come into being for those who know the shared secret.
    shared_secret: Arc<SharedSecret>,
    /// Asks for a proof before something that matters is done.
    user_interactive_auth: Arc<UserInteractiveAuth>,
    /// The addresses of accounts.
    threepids: Arc<ThirdPartyIdentifiers>,
    /// The words of the pages that mails lead to, if the server sends mail.
    mail_templates: Option<Arc<Templates>>,
    /// Users' devices.
    devices: Arc<Devices>,
    /// Users' profiles.
    profiles: Arc<Profiles>,
    /// What clients keep for their users.
    account_data: Arc<AccountData>,
    /// Users' push rules.
    push_rules: Arc<PushRules>,
    /// How far users have read.
    receipts: Arc<Receipts>,
    /// Who types where.
    typing: Arc<Typing>,
    /// Who is there.
    presences: Arc<Presences>,
    /// Filters that users have stored.
    filters: Arc<Filters>,
    /// Who this server is.
    identity: Arc<Identity>,
    /// How rooms come into being.
    room_creation: Arc<RoomCreation>,
    /// Who is in which room.
    memberships: Arc<Memberships>,
    /// How clients send events.
    sending: Arc<Sending>,
    /// Aliases of rooms.
    aliases: Arc<Aliases>,
    /// The directory of public rooms.
    directory: Arc<Directory>,
    /// Finds users.
    user_directory: Arc<UserDirectory>,
    /// How events get into rooms.
    timeline: Arc<Timeline>,
    /// What was said in rooms.
    history: Arc<History>,
    /// What is the state of rooms, and who is in them.
    room_state: Arc<RoomState>,
    /// Which other server makes a request.
    gate: Arc<Gate>,
    /// The keys of this server, for others.
    own_keys: Arc<OwnKeys>,
    /// Who may have this server ask another one for its keys.
    key_requests: Arc<Shares>,
    /// What other servers tell.
    remote: Arc<RemoteQueries>,
    /// What users upload, and what others did.
    media: Arc<ContentRepository>,
    /// How often things may be done.
    rate_limits: Arc<RateLimits>,
    /// Messages from device to device.
    to_device: Arc<ToDevice>,
    /// The keys of devices.
    keys: Arc<Keys>,
    /// Backups of keys.
    backups: Arc<Backups>,
    /// Whose keys have changed.
    device_lists: Arc<DeviceLists>,
    /// What is new.
    sync: Arc<Sync>,
    /// Work in the background.
    background_jobs: Arc<BackgroundJobs>,
    /// How much there is on the server.
    statistics: Arc<Statistics>,
}

/// The state of the routers, cheap to clone.
#[derive(Clone)]
pub struct ApiState(Arc<Components>);

impl ApiState {
    /// The state made of `components`.
    pub fn new(components: Components) -> Self {
        Self(Arc::new(components))
    }
}
