//! Media as it is downloaded, small and large.

use bytes::Bytes;

use crate::context::Context;
use crate::measurement::Measurement;

/// Names and lengths: about a thumbnail, and a photograph.
const CONTENTS: [(&str, usize); 2] = [("download, 10 KiB", 10 << 10), ("download, 1 MiB", 1 << 20)];
const CLIENTS: usize = 8;

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let users = context.users(context.size.count(CLIENTS)).await?;
    let mut rows = Vec::new();
    for (name, length) in CONTENTS {
        let content = Bytes::from_iter((0_u32..).take(length).map(|place| (place % 251) as u8));
        let mut uploads = Vec::new();
        for user in &users {
            uploads.push((user.clone(), context.server.upload(user, content.clone()).await?));
        }
        let read = context.drive(name, &uploads, async |(user, path), _| context.server.get(Some(user), path).await);
        let (tally, spent) = read.await?;
        rows.push(Measurement::new(name, tally, spent));
    }
    Ok(rows)
}
