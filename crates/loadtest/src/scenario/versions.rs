//! The cheapest request: what HTTP and routing cost.

use crate::context::Context;
use crate::measurement::Measurement;

const CLIENTS: usize = 32;

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let asked = context.drive("versions", &[(); CLIENTS], async |_, _| context.server.versions().await);
    let (tally, spent) = asked.await?;
    Ok(vec![Measurement::new("versions", tally, spent)])
}
