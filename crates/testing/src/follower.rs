//! Somebody who waits for what is new.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::client::path_segment;
use crate::user::User;

/// How long anything may take that happens soon.
const PATIENCE: Duration = Duration::from_secs(30);

/// A long poll that goes on from answer to answer.
pub struct Follower {
    user: User,
    since: String,
    /// Whether it asks again when the database cannot be reached.
    is_patient: bool,
}

impl Follower {
    /// Begins with what there is now.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn start(user: User) -> Self {
        let first = user.sync(None, 0).await;
        let since = first["next_batch"].as_str().expect("the answer has a token").to_owned();
        Self { user, since, is_patient: false }
    }

    /// The same, who asks again when the database cannot be reached.
    #[must_use]
    pub fn patient(self) -> Self {
        Self { is_patient: true, ..self }
    }

    /// Goes on at another server.
    pub fn go_to(&mut self, user: User) {
        self.user = user;
    }

    /// What `look` finds in one of the next answers.
    ///
    /// # Panics
    /// When it is not in them within half a minute; `what` says what was missed.
    pub async fn sees<T>(&mut self, what: &str, look: impl Fn(&Value) -> Option<T>) -> T {
        let looking = async {
            loop {
                let path = format!("/_matrix/client/v3/sync?timeout=20000&since={}", path_segment(&self.since));
                let answer = self.user.get(path).await;
                if self.is_patient && answer.status == 503 {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
                let answer = answer.ok();
                answer["next_batch"].as_str().expect("the answer has a token").clone_into(&mut self.since);
                if let Some(found) = look(&answer) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("{what} is not seen"))
    }

    /// Waits for a message in a room, and returns what the answer has of the room.
    pub async fn sees_message(&mut self, room_id: &str, body: &str) -> Value {
        let look = |answer: &Value| {
            let room = &answer["rooms"]["join"][room_id];
            let events = room["timeline"]["events"].as_array()?;
            events.iter().any(|event| event["content"]["body"] == body).then(|| room.clone())
        };
        self.sees(body, look).await
    }

    /// Waits for an event of this type among those of a room that are not kept.
    pub async fn sees_ephemeral(&mut self, room_id: &str, event_type: &str, is_it: impl Fn(&Value) -> bool) {
        let look = |answer: &Value| {
            let events = answer["rooms"]["join"][room_id]["ephemeral"]["events"].as_array()?;
            events.iter().any(|event| event["type"] == event_type && is_it(&event["content"])).then_some(())
        };
        self.sees(event_type, look).await;
    }
}
