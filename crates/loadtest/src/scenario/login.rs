//! Password login: the password hash decides.

use crate::accounts::PASSWORD;
use crate::context::Context;
use crate::measurement::Measurement;

const CLIENTS: usize = 4;

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let users = context.users(CLIENTS).await?;
    let logged_in = context.drive("login", &users, async |user, _| context.server.login(&user.user_id, PASSWORD).await);
    let (tally, spent) = logged_in.await?;
    Ok(vec![Measurement::new("login", tally, spent)])
}
