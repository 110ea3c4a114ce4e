//! Private rooms with a name and a topic, one after the other.

use crate::context::Context;
use crate::measurement::Measurement;

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    // A user of its own: nobody else's scenario gets these rooms into its syncs.
    let user = context.new_user().await?;
    let created =
        context.drive("create-room", &[()], async |_, _| context.server.create_room(&user, "private_chat").await);
    let (tally, spent) = created.await?;
    Ok(vec![Measurement::new("create-room", tally, spent)])
}
