use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use super::{has_type, shared_room};
use crate::world::{Side, World};

pub(super) async fn messages_and_state(world: &World, version: &str, side: Side) -> Result<()> {
    let (mut host, mut guest) = world.pair(side).await?;
    let room = shared_room(version, &mut host, &mut guest).await?;
    host.say(&room, "Good morning").await?;
    guest.wait_for_text(&room, "Good morning").await?;
    guest.say(&room, "Good morning to you").await?;
    host.wait_for_text(&room, "Good morning to you").await?;

    host.set_state(&room, "m.room.topic", json!({ "topic": "Weather" })).await?;
    let is_topic = |event: &Value| {
        has_type(event, "m.room.topic") && event.pointer("/content/topic").and_then(Value::as_str) == Some("Weather")
    };
    guest.wait_for_event("the topic", &room, is_topic).await?;

    // Both speak at the same time, so the room has branches for a moment.
    for number in 0..5 {
        let (one, other) = (format!("one {number}"), format!("other {number}"));
        tokio::try_join!(host.say(&room, &one), guest.say(&room, &other))?;
        host.wait_for_text(&room, &other).await?;
        guest.wait_for_text(&room, &one).await?;
    }

    let wrong = guest.say(&room, "A slip").await?;
    host.wait_for_text(&room, "A slip").await?;
    guest.redact(&room, &wrong).await?;
    host.wait_for_event("the redaction", &room, |event| has_type(event, "m.room.redaction")).await?;
    Ok(())
}

pub(super) async fn ephemeral(world: &World, version: &str, side: Side) -> Result<()> {
    let (mut host, mut guest) = world.pair(side).await?;
    let room = shared_room(version, &mut host, &mut guest).await?;
    for turn in 0..2 {
        let (one, other) = if turn == 0 { (&mut host, &mut guest) } else { (&mut guest, &mut host) };
        let path = format!("v3/rooms/{room}/typing/{}", one.user_id);
        one.call(Method::PUT, &path, Some(json!({ "typing": true, "timeout": 20_000 }))).await?;
        let types = |content: &Value| {
            let users = content.get("user_ids").and_then(Value::as_array);
            users.is_some_and(|users| users.iter().any(|user| user.as_str() == Some(&one.user_id)))
        };
        other.wait_for_ephemeral(&room, "m.typing", types).await?;

        let text = format!("Read this, {turn}");
        let event_id = one.say(&room, &text).await?;
        other.wait_for_text(&room, &text).await?;
        let escaped = event_id.replace('$', "%24").replace('/', "%2F");
        other.call(Method::POST, &format!("v3/rooms/{room}/receipt/m.read/{escaped}"), Some(json!({}))).await?;
        let reads = |content: &Value| {
            let users = content.get(&event_id).and_then(|receipts| receipts.get("m.read"));
            users.is_some_and(|users| users.get(&other.user_id).is_some())
        };
        one.wait_for_ephemeral(&room, "m.receipt", reads).await?;

        let path = format!("v3/presence/{}/status", one.user_id);
        let status = format!("at lunch {turn}");
        one.call(Method::PUT, &path, Some(json!({ "presence": "unavailable", "status_msg": status }))).await?;
        other
            .wait_for("presence", |answer| {
                let events = answer.pointer("/presence/events")?.as_array()?;
                let is = |event: &&Value| event.pointer("/content/status_msg").and_then(Value::as_str) == Some(&status);
                events.iter().find(is).map(|_| ())
            })
            .await?;
    }
    Ok(())
}

pub(super) async fn profile(world: &World, version: &str, side: Side) -> Result<()> {
    let (mut host, mut guest) = world.pair(side).await?;
    let room = shared_room(version, &mut host, &mut guest).await?;
    let path = format!("v3/profile/{}/displayname", guest.user_id);
    guest.call(Method::PUT, &path, Some(json!({ "displayname": "The Guest" }))).await?;
    let is_name = |event: &Value| event.pointer("/content/displayname").and_then(Value::as_str) == Some("The Guest");
    host.wait_for_event("the new name", &room, is_name).await?;
    let read = host.call(Method::GET, &format!("v3/profile/{}", guest.user_id), None).await?;
    anyhow::ensure!(is_name(&json!({ "content": read })), "the profile is {read}");
    Ok(())
}
