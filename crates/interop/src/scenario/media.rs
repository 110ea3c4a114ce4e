use anyhow::{Result, ensure};

use crate::world::{Side, World};

const CONTENT: &[u8] = b"A small text that somebody wants to read elsewhere.\n";

pub(super) async fn play(world: &World, side: Side) -> Result<()> {
    let (host, guest) = world.pair(side).await?;
    let uri = host.upload(CONTENT).await?;
    let read = guest.download(&uri).await?;
    ensure!(read == CONTENT, "{} bytes come out of {}", read.len(), CONTENT.len());
    Ok(())
}
