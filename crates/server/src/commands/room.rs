use std::error::Error;
use std::path::PathBuf;

use clap::Subcommand;
use rooms::RoomError;
use ruma::OwnedRoomId;

use super::{CommandResult, load, print};
use crate::{compose, runtime};

#[derive(Subcommand)]
pub(super) enum RoomCommand {
    /// Compute a room's state again from its events, and say where the stored state differs.
    ///
    /// Exits with code 1 if anything differs that was not repaired.
    Check {
        /// The room ID.
        room: OwnedRoomId,
        /// Store what follows from the events. A server that runs on the same database should be restarted afterwards.
        #[arg(long)]
        repair: bool,
    },
}

pub(super) fn run(command: RoomCommand, file: Option<PathBuf>) -> CommandResult {
    let RoomCommand::Check { room, repair } = command;
    let config = load(file.as_ref())?.config;
    // One worker suffices for one room.
    let report = runtime::build(1)?.block_on(async {
        let (check, database) = compose::room_check(&config).await?;
        let report = if repair { check.repair(&room).await } else { check.check(&room).await };
        database.close().await;
        match report {
            Err(RoomError::NoSuchRoom) => Err(format!("{room} is no room that this server knows").into()),
            report => report.map_err(|error| Box::<dyn Error>::from(format!("{room}: {error}"))),
        }
    })?;
    print(&report.to_string())?;
    match (report.is_left_damaged(), report.is_repaired) {
        (false, _) => Ok(()),
        (true, true) => Err(format!("{room} has damaged events, which cannot be repaired").into()),
        (true, false) => {
            Err(format!("{room} is damaged: `room check --repair` stores what follows from its events").into())
        }
    }
}
