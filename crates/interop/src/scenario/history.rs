use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::world::{Side, World};

/// More than what servers hand out with a join, and more than one page.
const MESSAGES: usize = 60;

pub(super) async fn play(world: &World, version: &str, side: Side) -> Result<()> {
    let (mut host, mut guest) = world.pair(side).await?;
    let room = host.create_room(version, json!({ "preset": "public_chat" })).await?;
    for number in 0..MESSAGES {
        host.say(&room, &format!("Long ago {number}")).await?;
    }
    guest.join(&room, &host.server).await?;
    host.wait_for_member(&room, &guest.user_id, "join").await?;
    host.say(&room, "Now").await?;
    guest.wait_for_text(&room, "Now").await?;

    let (mut bodies, mut from) = (Vec::new(), None);
    for _ in 0..=MESSAGES {
        let (events, end) = guest.history(&room, from.as_deref()).await?;
        let texts = events.iter().filter_map(|event| event.pointer("/content/body").and_then(Value::as_str));
        bodies.extend(texts.filter(|text| text.starts_with("Long ago")).map(str::to_owned));
        if end.is_none() || bodies.len() >= MESSAGES {
            break;
        }
        from = end;
    }
    let expected: Vec<String> = (0..MESSAGES).rev().map(|number| format!("Long ago {number}")).collect();
    ensure!(bodies == expected, "{} of {MESSAGES} messages are read, or in another order", bodies.len());
    Ok(())
}
