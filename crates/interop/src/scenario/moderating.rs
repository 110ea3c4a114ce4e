use anyhow::{Result, ensure};

use super::shared_room;
use crate::world::{Side, World};

pub(super) async fn play(world: &World, version: &str, side: Side) -> Result<()> {
    let (mut host, mut guest) = world.pair(side).await?;
    let room = shared_room(version, &mut host, &mut guest).await?;
    host.change_member("kick", &room, &guest.user_id).await?;
    guest.wait_to_be(&room, "leave").await?;
    ensure!(guest.say(&room, "Still here").await.is_err(), "who was kicked can speak");

    guest.join(&room, &host.server).await?;
    guest.say(&room, "Back again").await?;
    host.wait_for_text(&room, "Back again").await?;
    host.change_member("ban", &room, &guest.user_id).await?;
    guest.wait_to_be(&room, "ban").await?;
    ensure!(guest.join(&room, &host.server).await.is_err(), "who was banned can join");

    host.change_member("unban", &room, &guest.user_id).await?;
    guest.join(&room, &host.server).await?;
    host.say(&room, "Welcome back").await?;
    guest.wait_for_text(&room, "Welcome back").await?;
    Ok(())
}
