//! Auth chains of events.

use homeserver_core::EventSn;
use room_engine::auth_chain::{AuthChainWalk, ChainCover};
use storage::{Database, StorageError};

/// The index is loaded level by level, and has a few.
const MAX_ROUNDS: usize = 10_000;

/// The auth chain of some state events, with the events themselves, in no order.
pub(crate) async fn auth_chain(database: &Database, events: Vec<EventSn>) -> Result<Vec<EventSn>, StorageError> {
    // What one set reaches and the other, which is empty, does not.
    let mut walk = AuthChainWalk::new([events, Vec::new()]);
    let mut cover = ChainCover::new();
    for _ in 0..MAX_ROUNDS {
        match walk.run(&cover) {
            Ok(()) => {
                let ranges = database.events_of_chains(&walk.difference()).await?;
                return Ok(ranges.into_iter().flat_map(|(_, events)| events).collect());
            }
            Err(need) => database.load_auth_chains(&need, &mut cover).await?,
        }
    }
    Err(StorageError::Corrupt("an auth chain does not come to an end".to_owned()))
}
