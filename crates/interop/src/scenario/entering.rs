use anyhow::{Result, ensure};
use serde_json::json;

use super::shared_room;
use crate::world::{Side, World};

pub(super) async fn restricted(world: &World, version: &str, side: Side) -> Result<()> {
    let (mut host, mut guest) = world.pair(side).await?;
    let club = shared_room(version, &mut host, &mut guest).await?;
    let rule = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": club }] });
    let state = json!([{ "type": "m.room.join_rules", "state_key": "", "content": rule }]);
    let room = host.create_room(version, json!({ "preset": "private_chat", "initial_state": state })).await?;
    guest.join(&room, &host.server).await?;
    host.wait_for_member(&room, &guest.user_id, "join").await?;
    guest.say(&room, "A member of the club").await?;
    host.wait_for_text(&room, "A member of the club").await?;

    let stranger = world.person(side.other()).await?;
    ensure!(stranger.join(&room, &host.server).await.is_err(), "who is not in the club can join");
    Ok(())
}

pub(super) async fn knocking(world: &World, version: &str, side: Side) -> Result<()> {
    let (mut host, mut guest) = world.pair(side).await?;
    let state = json!([{ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } }]);
    let room = host.create_room(version, json!({ "preset": "private_chat", "initial_state": state })).await?;
    guest.knock(&room, &host.server).await?;
    host.wait_for_member(&room, &guest.user_id, "knock").await?;
    let path = format!("/rooms/knock/{room}/knock_state/events");
    guest.wait_for("the knock", |answer| answer.pointer(&path).map(|_| ())).await?;
    host.change_member("invite", &room, &guest.user_id).await?;
    guest.wait_for_invite(&room).await?;
    guest.join(&room, &host.server).await?;
    guest.say(&room, "Somebody opened").await?;
    host.wait_for_text(&room, "Somebody opened").await?;
    Ok(())
}
