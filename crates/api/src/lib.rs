//! The HTTP API: routers by who calls them, extractors, and errors as Matrix spells them.
//!
//! # The way of a request
//!
//! 1. `edge` answers `OPTIONS`, and adds to every other answer the CORS headers and to the metrics what it cost.
//! 2. A router finds the handler: `client/mod.rs` is the whole client-server API as one list.
//! 3. The handler's arguments are the whole truth about what it touches. [`extract`] checks each part of the request:
//!    [`Authenticated`](extract::Authenticated) (or `GuestOrUser`, `OptionalAuthenticated`, `Administrator`), [`Path`](extract::Path) or
//!    [`OwnUser`](extract::OwnUser),
//!    [`Query`](extract::Query), [`Json`](extract::Json) or [`Content`](extract::Content); `State<Arc<Component>>` names a component.
//! 4. The handler calls one component, and answers with `Json(…)` or the error of its boundary: `ClientError`, `FederationError` or
//!    `AdminError`, each around an [`ApiError`](error::ApiError).
//!
//! # An endpoint
//!
//! One endpoint, one small file, and one line in the list, which `paths::Paths` turns into every path by which clients call it:
//!
//! ```text
//! // client/mod.rs:       .v3("/rooms/{roomId}/forget", post(rooms::forget::forget))
//! // client/rooms/forget.rs:
//! /// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget>
//! pub(crate) async fn forget(
//!     Authenticated(requester): Authenticated,
//!     Path(room_id): Path<OwnedRoomId>,
//!     State(memberships): State<Arc<Memberships>>,
//! ) -> ClientResult<Json<Empty>> {
//!     memberships.forget(&requester, &room_id).await?;
//!     Ok(Json(Empty {}))
//! }
//! ```
//!
//! Path parameters are spelled as in the specification (`{roomId}`), because errors name them. A structure inside a body that must be an
//! object is an [`Object<T>`](extract::Object). `?` works where the component's error has an `impl From<…> for ClientError`; that
//! `impl` is in `client/…` beside the endpoints of the component. An error that everybody is told alike, such as that of the database, has an
//! `impl From<…> for ApiError` in [`error`] instead, and `?` works with it at every boundary.
//!
//! # A component
//!
//! One line in [`state`], in the list of its domain: `components! { rooms: RoomsComponents { …, memberships: Arc<Memberships>, } }`. The file
//! of that domain in the server's `compose/` then has to make it.

mod admin;
mod client;
mod edge;
pub mod error;
pub mod extract;
mod federation;
mod front_page;
mod media;
pub mod ops;
mod paths;
mod request_id;
mod router;
pub mod state;
mod submit_token;
mod unread_body;
mod well_known;

use serde::Serialize;

pub use client::{SPECIFIED_ENDPOINTS, SpecifiedEndpoint};
pub use edge::RequestObserver;
pub use router::{Resource, router};
pub use state::{ApiState, Components};

/// The answer `{}`.
#[derive(Clone, Copy, Serialize, Debug)]
pub struct Empty {}
