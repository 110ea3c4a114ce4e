//! What a client may relate an event to.

use homeserver_core::UserSn;
use room_engine::Relation;

use super::OpenRoom;
use crate::{Draft, RoomError};

impl OpenRoom {
    /// Refuses the same annotation twice, and threads that begin with an event that relates to another one. The rules of rooms allow
    /// both, so events of other servers may do it.
    ///
    /// # Errors
    /// [`RoomError::DuplicateAnnotation`], [`RoomError::NoThreadRoot`].
    pub(crate) async fn check_relation(&self, sender_sn: UserSn, draft: &Draft) -> Result<(), RoomError> {
        let Some(relation) = Relation::in_content(draft.content.as_bytes()) else { return Ok(()) };
        let room_sn = self.head()?.room_sn;
        match (&*relation.rel_type, &relation.key) {
            ("m.annotation", Some(key)) => {
                let Some(type_sn) = self.interned.find_type(&draft.event_type).await? else { return Ok(()) };
                let (target_id, by) = (&*relation.event_id, (sender_sn, type_sn));
                match self.database.has_annotated(room_sn, target_id, by, key).await? {
                    true => Err(RoomError::DuplicateAnnotation),
                    false => Ok(()),
                }
            }
            ("m.thread", _) => {
                let root = self.database.stored_pdu_by_id(&relation.event_id).await?;
                let root = root.filter(|root| root.room_sn == room_sn);
                match root.is_some_and(|root| Relation::of(&root.client_json).is_some()) {
                    true => Err(RoomError::NoThreadRoot),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
