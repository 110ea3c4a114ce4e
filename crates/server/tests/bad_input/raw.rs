//! Connections on which a test writes whatever it likes.

use std::time::Duration;

use testing::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A new connection to the server of `client`.
pub(crate) async fn connect(client: &Client) -> TcpStream {
    let address = client.base_url().trim_start_matches("http://");
    TcpStream::connect(address).await.unwrap()
}

/// Sends `bytes` and reads until the server closes the connection, or says nothing for `limit`. `None` if it did neither
/// answer nor close.
pub(crate) async fn exchange(client: &Client, bytes: &[u8], limit: Duration) -> Option<String> {
    let mut stream = connect(client).await;
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match timeout(limit, stream.read(&mut buffer)).await {
            Err(_) if received.is_empty() => return None,
            Err(_) | Ok(Ok(0) | Err(_)) => return Some(String::from_utf8_lossy(&received).into_owned()),
            Ok(Ok(length)) => received.extend_from_slice(&buffer[..length]),
        }
    }
}

/// The status of the first answer in `text`; 0 if there is none.
pub(crate) fn status(text: &str) -> u16 {
    text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default()
}
