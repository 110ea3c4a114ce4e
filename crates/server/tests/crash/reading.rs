//! Reading all that is new, by `/sync`, and by `/messages` where it leaves something out.

use std::collections::HashMap;

use serde_json::{Value, json};
use testing::{Client, path_segment};

/// Small enough that some syncs are limited.
const TIMELINE_LIMIT: u64 = 40;
const PAGE: u64 = 250;

/// An event as somebody sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) event_id: String,
    /// The text, if it is a message.
    pub(crate) text: Option<String>,
}

/// The events since a token, or all, by room and in their order, and the next token.
pub(crate) async fn catch_up(
    client: &Client,
    token: &str,
    since: Option<&str>,
) -> (HashMap<String, Vec<Seen>>, String) {
    let filter = json!({ "room": { "timeline": { "limit": TIMELINE_LIMIT } } }).to_string();
    let from = since.map_or_else(String::new, |since| format!("&since={}", path_segment(since)));
    let path = format!("/_matrix/client/v3/sync?timeout=0&filter={}{from}", path_segment(&filter));
    let sync = client.get(path).token(token).await.ok();
    let mut rooms = HashMap::new();
    for (room_id, room) in sync["rooms"]["join"].as_object().into_iter().flatten() {
        let timeline = &room["timeline"];
        let mut events = Vec::new();
        if timeline["limited"] == true {
            let before = timeline["prev_batch"].as_str().unwrap();
            events = page_back(client, token, room_id, before, since).await;
        }
        events.extend(timeline["events"].as_array().into_iter().flatten().map(seen));
        rooms.insert(room_id.clone(), events);
    }
    (rooms, sync["next_batch"].as_str().unwrap().to_owned())
}

/// The events between two tokens, or from the beginning.
async fn page_back(client: &Client, token: &str, room_id: &str, before: &str, since: Option<&str>) -> Vec<Seen> {
    let to = since.map_or_else(String::new, |since| format!("&to={}", path_segment(since)));
    let mut from = Some(before.to_owned());
    let mut events = Vec::new();
    while let Some(token_before) = from {
        let path = format!("/_matrix/client/v3/rooms/{}/messages", path_segment(room_id));
        let query = format!("dir=b&limit={PAGE}&from={}{to}", path_segment(&token_before));
        let page = client.get(format!("{path}?{query}")).token(token).await.ok();
        events.extend(page["chunk"].as_array().unwrap().iter().map(seen));
        from = page["end"].as_str().map(str::to_owned);
    }
    events.reverse();
    events
}

fn seen(event: &Value) -> Seen {
    let is_message = event["type"] == "m.room.message";
    let text = is_message.then(|| event["content"]["body"].as_str().unwrap().to_owned());
    Seen { event_id: event["event_id"].as_str().unwrap().to_owned(), text }
}
