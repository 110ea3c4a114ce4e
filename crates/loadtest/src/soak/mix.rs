//! What the clients ask for, and how often.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::json;

use super::world::{Client, World};
use crate::context::Context;
use crate::matrix::{Failure, escaped, next_batch};

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Send,
    Sync,
    Messages,
    ReadProfile,
    /// Changes a member event in each of the user's rooms.
    Rename,
    /// Into the lobby, or out of it.
    JoinOrLeave,
    /// And leaves an older one.
    CreateRoom,
}

/// Of a hundred requests, how many are of each kind.
const SHARES: [(Step, u32); 7] = [
    (Step::Send, 55),
    (Step::Sync, 20),
    (Step::Messages, 10),
    (Step::ReadProfile, 8),
    (Step::JoinOrLeave, 5),
    (Step::Rename, 1),
    (Step::CreateRoom, 1),
];

impl Step {
    /// The step that a number below 100 stands for.
    pub(crate) fn of(number: u32) -> Self {
        let mut rest = number % 100;
        for (step, share) in SHARES {
            if rest < share {
                return step;
            }
            rest -= share;
        }
        Self::Send
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Sync => "sync",
            Self::Messages => "messages, page of 20",
            Self::ReadProfile => "read a profile",
            Self::Rename => "change a display name",
            Self::JoinOrLeave => "join or leave",
            Self::CreateRoom => "create a room",
        }
    }
}

/// Takes one step.
pub(crate) async fn take(
    context: &Context,
    world: &World,
    client: &RefCell<Client>,
    step: Step,
) -> Result<(), Failure> {
    let server = &context.server;
    let (user, room, since) = {
        let mut client = client.borrow_mut();
        (client.user.clone(), client.next_room(), client.since.clone())
    };
    match step {
        Step::Send => server.send_chatter(&user, &room).await.map(drop),
        Step::Sync => {
            let reply = server.sync(&user, since.as_deref(), Duration::ZERO).await?;
            client.borrow_mut().since = next_batch(&reply).ok();
            Ok(())
        }
        Step::Messages => server.messages(&user, &room, None, 20).await.map(drop),
        Step::ReadProfile => server.get(None, &profile(&user.user_id)).await.map(drop),
        Step::Rename => {
            let name = client.borrow_mut().next_name();
            let path = format!("{}/displayname", profile(&user.user_id));
            server.put(Some(&user), &path, &json!({ "displayname": name })).await.map(drop)
        }
        Step::JoinOrLeave => {
            let was_in = client.borrow_mut().is_in_lobby.take();
            // Each client asks one thing at a time, so nobody else changes it meanwhile.
            let verb = if was_in == Some(true) { "leave" } else { "join" };
            let path = format!("/_matrix/client/v3/rooms/{}/{verb}", escaped(&world.lobby));
            server.post(Some(&user), &path, &json!({})).await?;
            client.borrow_mut().is_in_lobby = Some(was_in != Some(true));
            Ok(())
        }
        Step::CreateRoom => {
            let reply = server.create_room(&user, "private_chat").await?;
            let too_old = client.borrow_mut().created(&reply);
            match too_old {
                Some(room) => {
                    let path = format!("/_matrix/client/v3/rooms/{}/leave", escaped(&room));
                    server.post(Some(&user), &path, &json!({})).await.map(drop)
                }
                None => Ok(()),
            }
        }
    }
}

fn profile(user_id: &str) -> String {
    format!("/_matrix/client/v3/profile/{}", escaped(user_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_those_of_a_hundred_requests() {
        assert_eq!(SHARES.iter().map(|(_, share)| share).sum::<u32>(), 100);
        for (step, share) in SHARES {
            let found = (0..100).filter(|number| Step::of(*number) == step).count();
            assert_eq!(found, share as usize, "{step:?}");
        }
    }
}
