//! A space with many rooms, on one page.

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::context::Context;
use crate::matrix::escaped;
use crate::measurement::Measurement;

const ROOMS: usize = 1_000;

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    #[derive(Deserialize)]
    struct Created {
        room_id: String,
    }
    #[derive(Deserialize)]
    struct Page {
        rooms: Vec<Value>,
    }
    let user = context.new_user().await?;
    let body = json!({ "preset": "private_chat", "name": "Space", "creation_content": { "type": "m.space" } });
    let created = context.server.post(Some(&user), "/_matrix/client/v3/createRoom", &body).await;
    let space = escaped(&created.context("creating a space")?.parse::<Created>()?.room_id);
    let rooms = context.size.count(ROOMS);
    let (_, server_name) = user.user_id.split_once(':').context("a user ID names its server")?;
    context
        .prepare("preparing the rooms of a space", rooms, async |_| {
            let room = escaped(&context.server.new_public_room(&user).await?);
            let path = format!("/_matrix/client/v3/rooms/{space}/state/m.space.child/{room}");
            context.server.put(Some(&user), &path, &json!({ "via": [server_name] })).await?;
            Ok(())
        })
        .await?;
    let path = format!("/_matrix/client/v1/rooms/{space}/hierarchy?limit=1000");
    let page: Page = context.server.get(Some(&user), &path).await.context("reading the space")?.parse()?;
    ensure!(page.rooms.len() > rooms.min(999), "the page has {} rooms of {rooms}", page.rooms.len());
    let name = format!("hierarchy of {rooms} rooms");
    let read = context.drive(&name, &[()], async |_, _| context.server.get(Some(&user), &path).await);
    let (tally, spent) = read.await?;
    Ok(vec![Measurement::new(name, tally, spent)])
}
