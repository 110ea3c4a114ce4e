use anyhow::Result;
use serde_json::json;

use crate::world::{Side, World};

pub(super) async fn play(world: &World, version: &str, side: Side) -> Result<()> {
    let (mut host, mut guest) = world.pair(side).await?;
    let room = host.create_room(version, json!({ "preset": "private_chat", "name": "Quiet" })).await?;
    host.change_member("invite", &room, &guest.user_id).await?;
    guest.wait_for_invite(&room).await?;
    guest.join(&room, &host.server).await?;
    host.wait_for_member(&room, &guest.user_id, "join").await?;
    guest.say(&room, "Thanks").await?;
    host.wait_for_text(&room, "Thanks").await?;
    guest.leave(&room).await?;
    host.wait_for_member(&room, &guest.user_id, "leave").await?;

    let other = host.create_room(version, json!({ "preset": "private_chat" })).await?;
    host.change_member("invite", &other, &guest.user_id).await?;
    guest.wait_for_invite(&other).await?;
    guest.leave(&other).await?;
    host.wait_for_member(&other, &guest.user_id, "leave").await?;

    // Invited by the request that makes the room, and the invite is taken back.
    let third = json!({ "preset": "private_chat", "invite": [guest.user_id], "is_direct": true });
    let third = host.create_room(version, third).await?;
    guest.wait_for_invite(&third).await?;
    host.change_member("kick", &third, &guest.user_id).await?;
    let path = format!("/rooms/leave/{third}");
    guest.wait_for("the end of the invite", |answer| answer.pointer(&path).map(|_| ())).await
}
