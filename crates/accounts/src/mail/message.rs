//! A mail as it is sent.

use homeserver_core::random_string;
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};

use super::templates::Words;

/// The longest subject, in characters.
const MAX_SUBJECT_CHARS: usize = 200;

/// A mail of these words. Says what is wrong if there is no such mail.
pub(super) fn build(from: &Mailbox, to: &str, domain: &str, words: &Words) -> Result<Message, String> {
    let to = to.parse().map_err(|error| format!("{to} is no e-mail address: {error}"))?;
    // RFC 3834: nobody who is away answers such a mail.
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(one_line(&words.subject))
        .date_now()
        .message_id(Some(format!("<{}@{domain}>", random_string(32))))
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
        .multipart(MultiPart::alternative_plain_html(words.text.clone(), words.html.clone()))
        .map_err(|error| error.to_string())
}

/// Whatever a template makes of its values, a subject adds no header and no body.
fn one_line(text: &str) -> String {
    let words = text.split(|letter: char| letter.is_control() || letter.is_whitespace());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_SUBJECT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(to: &str, subject: &str) -> Result<String, String> {
        let words = Words { subject: subject.to_owned(), text: "Hello".to_owned(), html: "<p>Hello".to_owned() };
        let from = "Example <matrix@example.org>".parse().unwrap();
        let message = build(&from, to, "example.org", &words)?;
        Ok(String::from_utf8(message.formatted()).unwrap())
    }

    fn headers(message: &str) -> Vec<&str> {
        let (head, _) = message.split_once("\r\n\r\n").unwrap();
        head.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect()
    }

    #[test]
    fn a_mail_says_from_whom_it_is_and_that_a_machine_sent_it() {
        let message = text("alice@example.com", "Hello").unwrap();
        for line in [
            "From: Example <matrix@example.org>",
            "To: alice@example.com",
            "Subject: Hello",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
        ] {
            assert!(message.lines().any(|found| found == line), "{line} in {message}");
        }
        assert!(message.contains("\r\nDate: ") && message.contains("@example.org>\r\n"), "{message}");
        assert!(message.contains("text/plain; charset=utf-8") && message.contains("text/html; charset=utf-8"));
    }

    #[test]
    fn a_subject_adds_no_header() {
        let plain = text("alice@example.com", "Hello").unwrap();
        for subject in
            ["Hello\r\nBcc: eve@example.com", "Hello\nX: y", "Hello\r\n\r\n<p>", "a\0b\rBcc: x", "é\r\nBcc: x"]
        {
            let message = text("alice@example.com", subject).unwrap();
            assert_eq!(headers(&message), headers(&plain), "{subject:?}");
        }
    }

    #[test]
    fn an_address_adds_no_header() {
        for to in ["alice@example.com\r\nBcc: eve@example.com", "a@b.c, eve@example.com", "<a@b.c>\nX: y", ""] {
            assert!(text(to, "Hello").is_err(), "{to:?}");
        }
    }
}
