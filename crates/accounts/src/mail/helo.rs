//! Handing over a mail to a server that knows no `EHLO`, as some relays on a machine or in a closed network do not. They are greeted
//! with `HELO`, and then there is neither encryption nor a login.
//!
//! <https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.1>

use std::io;

use lettre::Address;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// The longest line of a reply, and the most lines of one.
const MAX_LINE_BYTES: u64 = 1_000;
const MAX_LINES: usize = 100;

/// Why a mail was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeloError {
    /// The server refuses.
    #[error("{text}")]
    Refused { code: u16, text: String },
    /// The connection failed, or what was said is not SMTP.
    #[error(transparent)]
    Lost(#[from] io::Error),
}

impl HeloError {
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Lost(_) => None,
        }
    }
}

/// Hands over one mail, on a connection of its own.
pub(super) async fn send(
    place: (&str, u16),
    domain: &str,
    (from, to): (Option<&Address>, &[Address]),
    mail: &[u8],
) -> Result<(), HeloError> {
    let mut talk = Talk { stream: BufReader::new(TcpStream::connect(place).await?) };
    talk.reply(220).await?;
    talk.command(&format!("HELO {domain}"), 250).await?;
    talk.command(&format!("MAIL FROM:<{}>", from.map_or("", AsRef::as_ref)), 250).await?;
    for address in to {
        talk.command(&format!("RCPT TO:<{address}>"), 250).await?;
    }
    talk.command("DATA", 354).await?;
    talk.stream.write_all(&stuffed(mail)).await?;
    talk.command("\r\n.", 250).await?;
    // It has the mail: what comes after that changes nothing.
    let _ = talk.command("QUIT", 221).await;
    Ok(())
}

/// A line that begins with a dot has one more, because a dot alone ends the mail.
fn stuffed(mail: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(mail.len() + mail.len() / 50);
    let mut begins_line = true;
    for &byte in mail {
        if begins_line && byte == b'.' {
            stuffed.push(b'.');
        }
        stuffed.push(byte);
        begins_line = byte == b'\n';
    }
    stuffed
}

struct Talk {
    stream: BufReader<TcpStream>,
}

impl Talk {
    async fn command(&mut self, command: &str, expected: u16) -> Result<(), HeloError> {
        self.stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        self.stream.flush().await?;
        self.reply(expected).await
    }

    /// Reads a reply, which may have several lines.
    async fn reply(&mut self, expected: u16) -> Result<(), HeloError> {
        for _ in 0..MAX_LINES {
            let mut line = String::new();
            (&mut self.stream).take(MAX_LINE_BYTES).read_line(&mut line).await?;
            let code = line.get(..3).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::InvalidData);
            let code: u16 = code.map_err(io::Error::from)?;
            if line.get(3..4) == Some("-") {
                continue;
            }
            if code == expected {
                return Ok(());
            }
            return Err(HeloError::Refused { code, text: line.trim_end().to_owned() });
        }
        Err(io::Error::from(io::ErrorKind::InvalidData).into())
    }
}

#[cfg(test)]
mod tests {
    use super::stuffed;

    #[test]
    fn no_line_of_a_mail_ends_it() {
        assert_eq!(stuffed(b".a\r\n.\r\nb.\r\n..c"), b"..a\r\n..\r\nb.\r\n...c");
    }
}
