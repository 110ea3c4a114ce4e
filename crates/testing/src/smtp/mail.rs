//! A mail that was taken.

/// A mail as it was taken, for one recipient.
#[derive(Clone, Debug)]
pub struct ReceivedMail {
    /// The sender of the envelope.
    pub from: String,
    /// The recipient of the envelope.
    pub to: String,
    /// Headers and body.
    pub text: String,
}

impl ReceivedMail {
    pub(super) fn new(from: &str, to: String, text: String) -> Self {
        Self { from: from.to_owned(), to, text: decoded(&text) }
    }

    /// The values of all headers of this name.
    #[must_use]
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let head = self.text.split_once("\r\n\r\n").map_or(self.text.as_str(), |(head, _)| head);
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// Path and query of the link by which the reader confirms.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn link(&self) -> String {
        let start = self.text.find("/_synapse/client/email/submit_token?");
        let start = start.unwrap_or_else(|| panic!("no link in {}", self.text));
        self.text[start..].split_whitespace().next().unwrap_or_default().to_owned()
    }
}

/// The text with its parts as they were before they were made quoted-printable (RFC 2045).
fn decoded(text: &str) -> String {
    text.split("\r\n--").map(decoded_part).collect::<Vec<_>>().join("\r\n--")
}

fn decoded_part(text: &str) -> String {
    if !text.contains("Content-Transfer-Encoding: quoted-printable") {
        return text.to_owned();
    }
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match (first, digits) {
            (b'=', Some("\r\n")) => rest = &after[2..],
            (b'=', Some(digits)) if u8::from_str_radix(digits, 16).is_ok() => {
                bytes.push(u8::from_str_radix(digits, 16).unwrap_or_default());
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_also_where_lines_were_broken() {
        let head = "Subject: x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n";
        let body = "Go to https://x/_synapse/client/email/submit_token?sid=3Dab=\r\nc&token=3Dd now =C3=A9";
        let mail = ReceivedMail::new("a@b.c", "d@e.f".to_owned(), format!("{head}{body}"));
        assert_eq!(mail.link(), "/_synapse/client/email/submit_token?sid=abc&token=d");
        assert!(mail.text.ends_with(" now é"));
        assert_eq!(mail.headers("subject"), ["x"]);
    }
}
