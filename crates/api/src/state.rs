//! The components that handlers use. A handler lists exactly those it needs: `State(sessions): State<Arc<Sessions>>`.

use std::sync::Arc;

use accounts::Accounts;
use accounts::account_data::AccountData;
use accounts::asking::Shares;
use accounts::authentication::Authenticator;
use accounts::capabilities::Capabilities;
use accounts::devices::Devices;
use accounts::filters::Filters;
use accounts::login_tokens::LoginTokens;
use accounts::mail::Templates;
use accounts::moderation::Moderation;
use accounts::openid::OpenIdTokens;
use accounts::profiles::Profiles;
use accounts::push_rules::PushRules;
use accounts::rate_limits::RateLimits;
use accounts::registration::{Registration, SharedSecret};
use accounts::rendezvous::Rendezvous;
use accounts::sessions::Sessions;
use accounts::tags::Tags;
use accounts::threepids::ThirdPartyIdentifiers;
use accounts::turn::Turn;
use accounts::uia::UserInteractiveAuth;
use accounts::well_known::WellKnown;
use axum::extract::FromRef;
use background::{BackgroundJobs, Statistics};
use encryption::backup::Backups;
use encryption::device_lists::DeviceLists;
use encryption::keys::{Keys, RemoteKeys};
use encryption::to_device::ToDevice;
use federation::{Gate, OwnKeys, ServerKeys};
use homeserver_core::Identity;
use media::ContentRepository;
use replication::backfill::Backfill;
use replication::hierarchy::Hierarchies;
use replication::memberships::SharedMemberships;
use replication::outbox::Destinations;
use replication::receiving::Receiving;
use replication::resident::Resident;
use rooms::mutual_rooms::MutualRooms;
use rooms::reading::{History, RoomSnapshots, RoomState, Search};
use rooms::remote::RemoteQueries;
use rooms::reports::Reports;
use rooms::serving::Serving;
use rooms::user_directory::UserDirectory;
use rooms::{Aliases, Directory, Memberships, RoomCreation, Sending, Timeline};
use sync::presence::Presences;
use sync::receipts::Receipts;
use sync::typing::Typing;
use sync::v3::Sync;
use telemetry::RemoteTraces;

use crate::edge::RequestObserver;

macro_rules! components {
    ($($(#[$domain_doc:meta])* $domain:ident: $Domain:ident {
        $($(#[$doc:meta])* $field:ident: $component:ty,)*
    })*) => {
        /// Every component that some handler uses, by domain.
        pub struct Components {
            $($(#[$domain_doc])* pub $domain: $Domain,)*
        }

        $(
            $(#[$domain_doc])*
            #[derive(Clone)]
            pub struct $Domain {
                $($(#[$doc])* pub $field: $component,)*
            }

            $(impl FromRef<ApiState> for $component {
                fn from_ref(state: &ApiState) -> Self {
                    state.0.$domain.$field.clone()
                }
            })*
        )*
    };
}

components! {
    /// The server as a whole: who it is, what it counts and limits, what it does in the background.
    operations: OperationsComponents {
        /// Learns of every answered request: the metrics.
        observer: Option<Arc<dyn RequestObserver>>,
        /// Whether traces of clients are continued, linked or ignored.
        client_traces: RemoteTraces,
        /// The name and the signing key of this server.
        identity: Arc<Identity>,
        /// Rate limits of users and addresses.
        rate_limits: Arc<RateLimits>,
        /// The jobs in the background.
        background_jobs: Arc<BackgroundJobs>,
        /// The statistics of the server.
        statistics: Arc<Statistics>,
    }

    /// Accounts, and what belongs to one.
    accounts: AccountsComponents {
        /// The document `/capabilities`.
        capabilities: Arc<Capabilities>,
        /// The documents under `/.well-known`.
        well_known: Arc<WellKnown>,
        /// Who makes a request.
        authenticator: Arc<Authenticator>,
        /// How sessions are refreshed, and end.
        sessions: Arc<Sessions>,
        /// Accounts that exist.
        accounts: Arc<Accounts>,
        /// Registers accounts.
        registration: Arc<Registration>,
        /// Registers accounts by the shared secret.
        shared_secret: Arc<SharedSecret>,
        /// Tokens by which users log in another device.
        login_tokens: Arc<LoginTokens>,
        /// Where clients meet before they log in.
        rendezvous: Arc<Rendezvous>,
        /// Authorises operations by user-interactive authentication.
        user_interactive_auth: Arc<UserInteractiveAuth>,
        /// The addresses of accounts.
        threepids: Arc<ThirdPartyIdentifiers>,
        /// The templates of the pages that mails link to, if the server sends mail.
        mail_templates: Option<Arc<Templates>>,
        /// Users' devices.
        devices: Arc<Devices>,
        /// Users' profiles.
        profiles: Arc<Profiles>,
        /// Users' account data.
        account_data: Arc<AccountData>,
        /// How users sort their rooms.
        tags: Arc<Tags>,
        /// What administrators do with accounts.
        moderation: Arc<Moderation>,
        /// Tells of TURN servers.
        turn: Arc<Turn>,
        /// Users' push rules.
        push_rules: Arc<PushRules>,
        /// Filters that users have stored.
        filters: Arc<Filters>,
        /// Tokens by which users show other services who they are.
        openid_tokens: Arc<OpenIdTokens>,
    }

    /// End-to-end encryption.
    encryption: EncryptionComponents {
        /// To-device messages.
        to_device: Arc<ToDevice>,
        /// The keys of devices.
        keys: Arc<Keys>,
        /// The keys of devices of users of other servers.
        remote_keys: Arc<RemoteKeys>,
        /// Backups of keys.
        backups: Arc<Backups>,
        /// Users whose keys have changed.
        device_lists: Arc<DeviceLists>,
    }

    /// Rooms, and what is in them.
    rooms: RoomsComponents {
        /// Creates rooms.
        room_creation: Arc<RoomCreation>,
        /// Joins, leaves and other changes of membership.
        memberships: Arc<Memberships>,
        /// Sends events of clients.
        sending: Arc<Sending>,
        /// Aliases of rooms.
        aliases: Arc<Aliases>,
        /// The directory of public rooms.
        directory: Arc<Directory>,
        /// Finds the rooms that two users are in.
        mutual_rooms: Arc<MutualRooms>,
        /// Takes reports of events, rooms and users.
        reports: Arc<Reports>,
        /// Finds users.
        user_directory: Arc<UserDirectory>,
        /// Appends events to rooms.
        timeline: Arc<Timeline>,
        /// Reads rooms as old clients do.
        room_snapshots: Arc<RoomSnapshots>,
        /// Searches messages.
        search: Arc<Search>,
        /// Reads the events of rooms.
        history: Arc<History>,
        /// Reads rooms for other servers.
        serving: Arc<Serving>,
        /// Reads the state and the members of rooms.
        room_state: Arc<RoomState>,
    }

    /// What is new, and what is told for a while only.
    sync: SyncComponents {
        /// Answers `/sync`.
        sync: Arc<Sync>,
        /// Receipts.
        receipts: Arc<Receipts>,
        /// Typing notifications.
        typing: Arc<Typing>,
        /// Presence.
        presences: Arc<Presences>,
    }

    /// Files.
    media: MediaComponents {
        /// The content repository.
        media: Arc<ContentRepository>,
    }

    /// Other servers.
    federation: FederationComponents {
        /// Authenticates requests of other servers.
        gate: Arc<Gate>,
        /// The keys of this server, for others.
        own_keys: Arc<OwnKeys>,
        /// The keys of other servers.
        server_keys: Arc<ServerKeys>,
        /// Limits how often this server asks another one for its keys.
        key_requests: Arc<Shares>,
        /// Asks other servers.
        remote: Arc<RemoteQueries>,
    }

    /// Rooms that are shared with other servers.
    replication: ReplicationComponents {
        /// Fetches the past of rooms.
        backfill: Arc<Backfill>,
        /// What is known of the servers that are sent something.
        destinations: Arc<Destinations>,
        /// Takes in what other servers send.
        receiving: Arc<Receiving>,
        /// Shows spaces with their rooms.
        hierarchies: Arc<Hierarchies>,
        /// Lets users of other servers into rooms.
        resident: Arc<Resident>,
        /// Lets users of this server into rooms, wherever they are.
        shared_memberships: Arc<SharedMemberships>,
    }
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
