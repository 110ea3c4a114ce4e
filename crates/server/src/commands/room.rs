use std::path::PathBuf;

use clap::Subcommand;
use ruma::OwnedRoomId;

use super::{CommandResult, load, print};
use crate::{compose, runtime};

#[derive(Subcommand)]
pub(super) enum RoomCommand {
    /// Work a room's state out anew from its events, and say where what is stored differs.
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
        report.map_err(|error| format!("{room}: {error}")).map_err(Box::<dyn std::error::Error>::from)
    })?;
    print(&report.to_string())?;
    if report.is_damaged() && !report.is_repaired {
        return Err(format!("{room} is damaged: `room check --repair` stores what follows from its events").into());
    }
    Ok(())
}
