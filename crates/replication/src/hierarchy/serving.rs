//! What other servers are told of rooms and their children.

use rooms::summaries::{RoomSummary, SpaceRoom, Viewer};
use ruma::{OwnedRoomId, RoomId, ServerName};
use serde::Serialize;

use super::{Hierarchies, HierarchyError};

/// The most children that another server is told of.
const MAX_CHILDREN: usize = 2_000;

/// A room and its children, for another server.
#[derive(Serialize, Debug)]
pub struct ServedHierarchy {
    /// The room.
    pub room: SpaceRoom,
    /// Those of its children that this server is in and that the other server may know of.
    pub children: Vec<RoomSummary>,
    /// The rooms of which the asking server may not learn.
    pub inaccessible_children: Vec<OwnedRoomId>,
}

impl Hierarchies {
    /// A room and its children, as far as another server may know of them.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid>
    ///
    /// # Errors
    /// [`HierarchyError::NotFound`] if this server is not in the room, or the other one may not know of it.
    #[tracing::instrument(name = "serve_hierarchy", level = "debug", skip_all)]
    pub async fn serve(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        suggested_only: bool,
    ) -> Result<ServedHierarchy, HierarchyError> {
        let viewer = Viewer::Server(server);
        let found = self.known(&[room_id.to_owned()], viewer, suggested_only).await?.remove(room_id);
        let found = found.filter(|room| room.is_accessible);
        let mut room = found.ok_or(HierarchyError::NotFound)?.room;
        room.children.truncate(MAX_CHILDREN);
        let named: Vec<OwnedRoomId> = room.children.iter().map(|child| child.room_id.clone()).collect();
        let mut known = self.known(&named, viewer, suggested_only).await?;
        let (mut children, mut inaccessible_children) = (Vec::new(), Vec::new());
        for child_id in named {
            match known.remove(&child_id) {
                Some(child) if child.is_accessible => children.push(child.room.summary),
                Some(_) => inaccessible_children.push(child_id),
                None => {}
            }
        }
        Ok(ServedHierarchy { room, children, inaccessible_children })
    }
}
