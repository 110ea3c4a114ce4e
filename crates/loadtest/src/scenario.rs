//! The scenarios, one file each.

mod create_room;
mod device_change;
mod disk;
mod download;
mod fanout;
mod hierarchy;
pub(crate) mod idle;
mod join;
mod keys;
mod login;
mod messages;
mod send;
pub(crate) mod startup;
mod sync_incremental;
mod sync_initial;
mod sync_large_rooms;
mod sync_one_room;
mod versions;

use clap::ValueEnum;

use crate::context::Context;
use crate::measurement::Measurement;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Everything below but `sync-large-rooms` and `device-change`
    All,
    /// The cheapest request there is, 32 at once
    Versions,
    /// Password login
    Login,
    /// Messages: 1 sender in 1 room, in a room of 100 members, 32 in 32, 32 in 1
    Send,
    /// 1 sender, 100 members waiting in /sync
    Fanout,
    /// First sync of a user in 200 rooms of 20 messages
    SyncInitial,
    /// First sync of a user in one room of 10 and of 300 members
    SyncOneRoom,
    /// First sync of a user in 100 rooms of 5,000 members, which join first: takes long to prepare (needs --server-pid)
    SyncLargeRooms,
    /// Next sync of a user in 1, 10, 100, 200, 1,000 rooms
    SyncIncremental,
    /// 5,000 events back in pages of 100
    Messages,
    /// Downloads of 10 KiB and of 1 MiB, 8 at once
    Download,
    /// A space of 1,000 rooms on one page
    Hierarchy,
    /// New private rooms
    CreateRoom,
    /// Keys of 1,000 users with 5 devices each asked for, and keys of 1,000 devices claimed
    Keys,
    /// Changed keys of a user in a room of 10,000 members, who join first: takes long to prepare
    DeviceChange,
    /// A room that grows to 500 members
    Join,
    /// 1,000 clients that wait in /sync: memory and CPU
    Idle,
    /// Time from the start command to the first answer, and memory then (needs --start-command)
    Startup,
    /// Bytes on disk per event (needs --data-path or --disk-command)
    Disk,
}

impl Scenario {
    /// In the order in which they run best: from what leaves little behind to what leaves much.
    const EVERY: [Self; 16] = [
        Self::Startup,
        Self::Versions,
        Self::Login,
        Self::Send,
        Self::Fanout,
        Self::Download,
        Self::CreateRoom,
        Self::Hierarchy,
        Self::SyncInitial,
        Self::SyncOneRoom,
        Self::SyncIncremental,
        Self::Messages,
        Self::Join,
        Self::Keys,
        Self::Disk,
        Self::Idle,
    ];

    /// Replaces `all` by the rest, and drops repetitions.
    pub(crate) fn expand(asked: &[Self]) -> Vec<Self> {
        if asked.is_empty() || asked.contains(&Self::All) {
            return Self::EVERY.to_vec();
        }
        let every = Self::EVERY.into_iter().chain([Self::SyncLargeRooms, Self::DeviceChange]);
        every.filter(|scenario| asked.contains(scenario)).collect()
    }

    /// Prepares and measures it on one server.
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Vec<Measurement>> {
        match self {
            Self::All => Ok(Vec::new()),
            Self::Versions => versions::run(context).await,
            Self::Login => login::run(context).await,
            Self::Send => send::run(context).await,
            Self::Fanout => fanout::run(context).await,
            Self::SyncInitial => sync_initial::run(context).await,
            Self::SyncOneRoom => sync_one_room::run(context).await,
            Self::SyncLargeRooms => sync_large_rooms::run(context).await,
            Self::SyncIncremental => sync_incremental::run(context).await,
            Self::Messages => messages::run(context).await,
            Self::Download => download::run(context).await,
            Self::Hierarchy => hierarchy::run(context).await,
            Self::CreateRoom => create_room::run(context).await,
            Self::Keys => keys::run(context).await,
            Self::DeviceChange => device_change::run(context).await,
            Self::Join => join::run(context).await,
            Self::Idle => idle::run(context).await,
            Self::Startup => startup::run(context).await,
            Self::Disk => disk::run(context).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_every_scenario_but_itself_and_the_two_longest() {
        assert_eq!(Scenario::expand(&[Scenario::All]).len(), Scenario::value_variants().len() - 3);
        assert_eq!(Scenario::expand(&[Scenario::SyncLargeRooms]), [Scenario::SyncLargeRooms]);
        assert_eq!(Scenario::expand(&[]), Scenario::expand(&[Scenario::All]));
    }

    #[test]
    fn a_repeated_scenario_runs_once() {
        let asked = [Scenario::Send, Scenario::Versions, Scenario::Send];
        assert_eq!(Scenario::expand(&asked), [Scenario::Versions, Scenario::Send]);
    }
}
