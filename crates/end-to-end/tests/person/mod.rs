//! A user with a client that syncs all the time.

use std::time::Duration;

use matrix_sdk::config::SyncSettings;
use matrix_sdk::ruma::api::client::account::register::v3::Request as Registration;
use matrix_sdk::ruma::api::client::filter::FilterDefinition;
use matrix_sdk::ruma::api::client::room::create_room::v3::Request as RoomCreation;
use matrix_sdk::ruma::api::client::uiaa::{AuthData, Dummy};
use matrix_sdk::ruma::api::error::ErrorKind;
use matrix_sdk::ruma::events::room::member::{MembershipState, StrippedRoomMemberEvent, SyncRoomMemberEvent};
use matrix_sdk::ruma::events::room::message::{MessageType, OriginalSyncRoomMessageEvent, RoomMessageEventContent};
use matrix_sdk::ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, uint};
use matrix_sdk::{Client, Room};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Far more time than any step takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The timeout of a sync. A sync that waits at the logout must end, too.
const SYNC_TIMEOUT: Duration = Duration::from_secs(3);

/// An update that the client reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Happening {
    Invited(OwnedRoomId),
    Member(OwnedUserId, MembershipState),
    Message(OwnedUserId, String),
}

/// A logged-in user.
pub(crate) struct Person {
    client: Client,
    happenings: UnboundedReceiver<Happening>,
    sync: JoinHandle<matrix_sdk::Result<()>>,
}

/// A plain text message.
pub(crate) fn text(body: &str) -> RoomMessageEventContent {
    RoomMessageEventContent::text_plain(body)
}

/// Waits until `holds` is true: the client's data changes while it syncs.
pub(crate) async fn comes_to(holds: impl Fn() -> bool) {
    let waiting = timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    waiting.await.unwrap();
}

impl Person {
    /// Registers an account by the stages that the server requires.
    pub(crate) async fn register(url: &str, name: &str) {
        let client = client(url).await;
        let mut request = Registration::new();
        request.username = Some(name.to_owned());
        request.password = Some(password(name));
        request.inhibit_login = true;
        let refused = Box::pin(client.matrix_auth().register(request.clone())).await.unwrap_err();
        let wanted = refused.as_uiaa_response().unwrap_or_else(|| panic!("{refused}"));
        let mut dummy = Dummy::new();
        dummy.session = wanted.session.clone();
        request.auth = Some(AuthData::Dummy(dummy));
        let made = Box::pin(client.matrix_auth().register(request)).await.unwrap();
        assert_eq!(made.user_id.localpart(), name);
    }

    /// Logs in with the password, and starts to sync.
    pub(crate) async fn log_in(url: &str, name: &str) -> Self {
        let client = client(url).await;
        let login = client.matrix_auth().login_username(name, &password(name));
        Box::pin(login.initial_device_display_name("test").send()).await.unwrap();
        assert_eq!(client.whoami().await.unwrap().user_id.localpart(), name);
        let (sender, happenings) = unbounded_channel();
        listen(&client, &sender);
        let syncing = client.clone();
        let sync = tokio::spawn(async move {
            let mut filter = FilterDefinition::with_lazy_loading();
            // As many events as are sent at once. Older ones are read by pages.
            filter.room.timeline.limit = Some(uint!(50));
            let settings = SyncSettings::new().timeout(SYNC_TIMEOUT).filter(filter.into());
            Box::pin(syncing.sync(settings)).await
        });
        Self { client, happenings, sync }
    }

    pub(crate) fn id(&self) -> OwnedUserId {
        self.client.user_id().unwrap().to_owned()
    }

    pub(crate) fn room(&self, room_id: &RoomId) -> Room {
        self.client.get_room(room_id).unwrap()
    }

    /// Creates a room with a name, and invites a user.
    pub(crate) async fn create_room(&self, name: &str, invited: &UserId) -> Room {
        let mut request = RoomCreation::new();
        request.name = Some(name.to_owned());
        request.invite = vec![invited.to_owned()];
        Box::pin(self.client.create_room(request)).await.unwrap()
    }

    /// Waits until the client reports `expected`.
    pub(crate) async fn hears(&mut self, expected: &Happening) {
        let mut others = Vec::new();
        let heard = timeout(PATIENCE, async {
            while let Some(happening) = self.happenings.recv().await {
                if happening == *expected {
                    return true;
                }
                others.push(happening);
            }
            false
        });
        let is_heard = heard.await.unwrap_or(false);
        assert!(is_heard, "{} did not hear of {expected:?}, only of {others:?}", self.id());
    }

    /// Logs out, which ends the sync.
    pub(crate) async fn log_out(self) {
        self.client.logout().await.unwrap();
        let ended = timeout(PATIENCE, self.sync).await.unwrap().unwrap().unwrap_err();
        let kind = ended.client_api_error_kind();
        assert!(matches!(kind, Some(ErrorKind::UnknownToken { .. })), "{ended}");
        self.client.whoami().await.unwrap_err();
    }
}

async fn client(url: &str) -> Client {
    Client::builder().homeserver_url(url).build().await.unwrap()
}

fn password(name: &str) -> String {
    format!("password of {name}")
}

/// Sends the client's updates to `heard`.
fn listen(client: &Client, heard: &UnboundedSender<Happening>) {
    let invitations = heard.clone();
    client.add_event_handler(async move |event: StrippedRoomMemberEvent, room: Room| {
        let is_own = event.state_key == room.own_user_id();
        if is_own && event.content.membership == MembershipState::Invite {
            drop(invitations.send(Happening::Invited(room.room_id().to_owned())));
        }
    });
    let members = heard.clone();
    client.add_event_handler(async move |event: SyncRoomMemberEvent| {
        drop(members.send(Happening::Member(event.state_key().clone(), event.membership().clone())));
    });
    let messages = heard.clone();
    client.add_event_handler(async move |event: OriginalSyncRoomMessageEvent| {
        if let MessageType::Text(text) = event.content.msgtype {
            drop(messages.send(Happening::Message(event.sender, text.body)));
        }
    });
}
