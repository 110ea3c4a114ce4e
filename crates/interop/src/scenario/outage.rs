use anyhow::{Result, ensure};

use super::shared_room;
use crate::world::{Side, World};

/// What is said while the other server is gone.
const MESSAGES: usize = 30;

pub(super) async fn play(world: &mut World, version: &str, side: Side) -> Result<()> {
    let (mut host, mut guest) = world.pair(side).await?;
    let room = shared_room(version, &mut host, &mut guest).await?;
    world.server(side.other()).stop().await?;
    let mut last = String::new();
    for number in 0..MESSAGES {
        last = format!("While you were gone {number}");
        host.say(&room, &last).await?;
    }
    world.server(side.other()).start().await?;
    // A server that hears from another one knows that it is back.
    guest.say(&room, "I am back").await?;
    host.wait_for_text(&room, "I am back").await?;
    host.say(&room, "Welcome").await?;
    guest.wait_for_text(&room, "Welcome").await?;
    let mut from = None;
    for _ in 0..MESSAGES {
        let (events, end) = guest.history(&room, from.as_deref()).await?;
        let is_last =
            |event: &serde_json::Value| event.pointer("/content/body").and_then(|body| body.as_str()) == Some(&last);
        if events.iter().any(is_last) {
            return Ok(());
        }
        ensure!(end.is_some(), "the history has an end without what was said meanwhile");
        from = end;
    }
    anyhow::bail!("what was said meanwhile is not in the history")
}
