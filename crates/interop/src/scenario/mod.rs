//! What people on the two servers do together. Each scenario is played from both sides: once with the room on this server, once with the
//! room on Synapse.

mod entering;
mod history;
mod inviting;
mod media;
mod moderating;
mod outage;
mod talking;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::person::Person;
use crate::world::{Side, World};

/// What is played.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scenario {
    /// Joining by alias, then messages and state both ways.
    Talking,
    /// Typing notifications, receipts and presence both ways.
    Ephemeral,
    /// An invite that is accepted, and one that is rejected.
    Inviting,
    /// Members are kicked and banned by somebody on the other server.
    Moderating,
    /// A room for the members of another one.
    Restricted,
    /// Asking to be let in.
    Knocking,
    /// Reading what was said before one came.
    History,
    /// A content of the other server.
    Media,
    /// A changed name in a shared room.
    Profile,
    /// A server that is stopped while the other one goes on.
    Outage,
}

impl Scenario {
    pub(crate) const ALL: [Self; 10] = [
        Self::Talking,
        Self::Ephemeral,
        Self::Inviting,
        Self::Moderating,
        Self::Restricted,
        Self::Knocking,
        Self::History,
        Self::Media,
        Self::Profile,
        Self::Outage,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Talking => "talking",
            Self::Ephemeral => "ephemeral",
            Self::Inviting => "inviting",
            Self::Moderating => "moderating",
            Self::Restricted => "restricted",
            Self::Knocking => "knocking",
            Self::History => "history",
            Self::Media => "media",
            Self::Profile => "profile",
            Self::Outage => "outage",
        }
    }

    /// Whether rooms of this version have it.
    pub(crate) fn exists_in(self, version: &str) -> bool {
        match self {
            Self::Knocking => !matches!(version, "1" | "6"),
            Self::Restricted => !matches!(version, "1" | "6" | "7"),
            _ => true,
        }
    }

    /// Plays it with the room on either side.
    pub(crate) async fn play(self, world: &mut World, version: &str) -> Result<()> {
        for side in [Side::Own, Side::Synapse] {
            let played = match self {
                Self::Talking => talking::messages_and_state(world, version, side).await,
                Self::Ephemeral => talking::ephemeral(world, version, side).await,
                Self::Inviting => inviting::play(world, version, side).await,
                Self::Moderating => moderating::play(world, version, side).await,
                Self::Restricted => entering::restricted(world, version, side).await,
                Self::Knocking => entering::knocking(world, version, side).await,
                Self::History => history::play(world, version, side).await,
                Self::Media => media::play(world, side).await,
                Self::Profile => talking::profile(world, version, side).await,
                Self::Outage => outage::play(world, version, side).await,
            };
            played.with_context(|| format!("with the room on {side:?}"))?;
        }
        Ok(())
    }
}

/// A public room of the first, with an alias by which the second has joined it.
async fn shared_room(version: &str, host: &mut Person, guest: &mut Person) -> Result<String> {
    let name = format!("room-of-{}", host.user_id.trim_start_matches('@').replace(':', "-"));
    let request = json!({ "preset": "public_chat", "room_alias_name": name });
    let room = host.create_room(version, request).await?;
    let alias = format!("#{name}:{}", host.server);
    let joined = guest.join(&alias, &host.server).await?;
    anyhow::ensure!(joined == room, "the alias leads to {joined} and not to {room}");
    host.wait_for_member(&room, &guest.user_id, "join").await?;
    guest.wait_to_be(&room, "join").await?;
    Ok(room)
}

fn has_type(event: &Value, event_type: &str) -> bool {
    event.get("type").and_then(Value::as_str) == Some(event_type)
}
