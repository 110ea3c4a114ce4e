//! What is said over one connection.

use std::io;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{ReceivedMail, Seen, SmtpMood, SmtpTls};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Speaks SMTP (RFC 5321) with one client, to the end.
pub(super) async fn hold(
    stream: TcpStream,
    tls: SmtpTls,
    acceptor: &TlsAcceptor,
    seen: &Mutex<Seen>,
) -> io::Result<()> {
    if seen.lock().mood == SmtpMood::Hangs {
        // Until the client has had enough.
        let mut lines = BufReader::new(stream).lines();
        while lines.next_line().await?.is_some() {}
        return Ok(());
    }
    let stream: Box<dyn Stream> = match tls {
        SmtpTls::Implicit => Box::new(acceptor.accept(stream).await?),
        SmtpTls::None | SmtpTls::StartTls => Box::new(stream),
    };
    let mut conversation = Conversation {
        stream: BufReader::new(stream),
        is_encrypted: tls == SmtpTls::Implicit,
        offers_tls: tls == SmtpTls::StartTls,
        from: String::new(),
        to: Vec::new(),
    };
    conversation.say("220 smtp.test ESMTP").await?;
    loop {
        let Some(line) = conversation.line(seen).await? else { return Ok(()) };
        if line.eq_ignore_ascii_case("STARTTLS") && conversation.offers_tls {
            conversation.say("220 Go ahead").await?;
            let clear = conversation.stream.into_inner();
            let encrypted: Box<dyn Stream> = Box::new(acceptor.accept(clear).await?);
            conversation.stream = BufReader::new(encrypted);
            (conversation.is_encrypted, conversation.offers_tls) = (true, false);
        } else if !conversation.answer(&line, seen).await? {
            return Ok(());
        }
    }
}

struct Conversation {
    stream: BufReader<Box<dyn Stream>>,
    is_encrypted: bool,
    offers_tls: bool,
    from: String,
    to: Vec<String>,
}

impl Conversation {
    /// Answers one command. Tells whether the conversation goes on.
    async fn answer(&mut self, line: &str, seen: &Mutex<Seen>) -> io::Result<bool> {
        let command = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match command.as_str() {
            "EHLO" if seen.lock().mood == SmtpMood::KnowsNoEhlo => self.say("500 5.5.1 Not known").await?,
            "HELO" => self.say("250 smtp.test").await?,
            "EHLO" if self.offers_tls => self.say("250-smtp.test\r\n250-STARTTLS\r\n250 8BITMIME").await?,
            "EHLO" => self.say("250-smtp.test\r\n250-AUTH PLAIN\r\n250-SMTPUTF8\r\n250 8BITMIME").await?,
            "AUTH" => {
                seen.lock().logins.push(line.to_owned());
                self.say("235 2.7.0 Welcome").await?;
            }
            "MAIL" => {
                self.from = between_brackets(line);
                self.to.clear();
                self.say("250 2.1.0 Ok").await?;
            }
            "RCPT" => {
                let mood = seen.lock().mood;
                if let SmtpMood::Refuses(reply) = mood {
                    seen.lock().refused += 1;
                    self.say(reply).await?;
                } else {
                    self.to.push(between_brackets(line));
                    self.say("250 2.1.5 Ok").await?;
                }
            }
            "DATA" => {
                self.say("354 End with a dot").await?;
                let text = self.data().await?;
                let mails = self.to.drain(..).map(|to| ReceivedMail::new(&self.from, to, text.clone()));
                seen.lock().mails.extend(mails);
                self.say("250 2.0.0 Ok").await?;
            }
            "QUIT" => {
                self.say("221 2.0.0 Bye").await?;
                return Ok(false);
            }
            "NOOP" | "RSET" => self.say("250 2.0.0 Ok").await?,
            _ => self.say("502 5.5.2 Not known").await?,
        }
        Ok(true)
    }

    async fn say(&mut self, reply: &str) -> io::Result<()> {
        self.stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
        self.stream.flush().await
    }

    async fn line(&mut self, seen: &Mutex<Seen>) -> io::Result<Option<String>> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_owned();
        if !self.is_encrypted {
            seen.lock().in_clear.push(line.clone());
        }
        Ok(Some(line))
    }

    /// The text of a mail, without the dots that SMTP adds.
    async fn data(&mut self) -> io::Result<String> {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.as_str() {
                ".\r\n" => return Ok(text),
                line => text.push_str(line.strip_prefix('.').unwrap_or(line)),
            }
        }
    }
}

fn between_brackets(line: &str) -> String {
    let address = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    address.map_or_else(String::new, |(address, _)| address.to_owned())
}
