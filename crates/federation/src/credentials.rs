//! Who makes a request, in its `Authorization` header.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>

use std::borrow::Cow;

use ruma::{OwnedServerName, ServerName};

/// The name of the scheme.
const SCHEME: &str = "X-Matrix";

/// What a server says about itself, and its signature of the request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// The server that makes the request.
    pub origin: OwnedServerName,
    /// The server that the request is for. Old servers leave it out.
    pub destination: Option<OwnedServerName>,
    /// The key that the request was signed with, such as `ed25519:1`.
    pub key_id: String,
    /// The signature, in Base64.
    pub signature: String,
}

/// A header that is not one of the scheme.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MalformedCredentials {
    /// Another scheme.
    #[error("The Authorization header is not of the scheme X-Matrix")]
    OtherScheme,
    /// Not a list of parameters.
    #[error("The Authorization header is not a list of parameters")]
    Grammar,
    /// A parameter is missing, there twice, or not of its kind.
    #[error("The Authorization header has no usable {0:?}")]
    Parameter(&'static str),
}

impl Credentials {
    /// Reads the value of a header.
    ///
    /// # Errors
    /// [`MalformedCredentials`].
    pub fn parse(header: &str) -> Result<Self, MalformedCredentials> {
        let (scheme, parameters) = header.split_once(' ').ok_or(MalformedCredentials::OtherScheme)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(MalformedCredentials::OtherScheme);
        }
        let (mut origin, mut destination, mut key_id, mut signature) = (None, None, None, None);
        let mut rest = parameters;
        while let Some((name, value, after)) = next_parameter(rest)? {
            rest = after;
            let (place, what) = match name.to_ascii_lowercase().as_str() {
                "origin" => (&mut origin, "origin"),
                "destination" => (&mut destination, "destination"),
                "key" => (&mut key_id, "key"),
                "sig" => (&mut signature, "sig"),
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(MalformedCredentials::Parameter(what));
            }
        }
        let server = |text: Cow<'_, str>, what| {
            ServerName::parse(text.as_ref()).map_err(|_| MalformedCredentials::Parameter(what))
        };
        let missing = MalformedCredentials::Parameter;
        Ok(Self {
            origin: server(origin.ok_or(missing("origin"))?, "origin")?,
            destination: destination.map(|text| server(text, "destination")).transpose()?,
            key_id: key_id.ok_or(missing("key"))?.into_owned(),
            signature: signature.ok_or(missing("sig"))?.into_owned(),
        })
    }

    /// The value of a header, in the form that every server understands.
    #[must_use]
    pub fn to_header(&self) -> String {
        let Self { origin, destination, key_id, signature } = self;
        let destination = destination.as_ref().map(|name| format!(r#",destination="{name}""#)).unwrap_or_default();
        format!(r#"{SCHEME} origin="{origin}"{destination},key="{key_id}",sig="{signature}""#)
    }
}

/// The name and value of the first parameter, and what follows.
#[expect(clippy::type_complexity, reason = "three parts of one text")]
fn next_parameter(text: &str) -> Result<Option<(&str, Cow<'_, str>, &str)>, MalformedCredentials> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    if text.is_empty() {
        return Ok(None);
    }
    let (name, rest) = text.split_once('=').ok_or(MalformedCredentials::Grammar)?;
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        return Err(MalformedCredentials::Grammar);
    }
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => unquote(quoted)?,
        None => {
            let end = rest.find([',', ' ', '\t']).unwrap_or(rest.len());
            let (value, rest) = rest.split_at(end);
            // Servers of old do not quote colons.
            if value.is_empty() || !value.bytes().all(|byte| is_token_byte(byte) || b":/=".contains(&byte)) {
                return Err(MalformedCredentials::Grammar);
            }
            (Cow::Borrowed(value), rest)
        }
    };
    let rest = rest.trim_start_matches([' ', '\t']);
    if rest.is_empty() || rest.starts_with(',') {
        Ok(Some((name, value, rest)))
    } else {
        Err(MalformedCredentials::Grammar)
    }
}

/// The text up to the closing quote, and what follows.
fn unquote(text: &str) -> Result<(Cow<'_, str>, &str), MalformedCredentials> {
    let mut unescaped: Option<String> = None;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        let (before, after) = text.split_at(at);
        match character {
            '"' => {
                let value = unescaped.map_or(Cow::Borrowed(before), Cow::Owned);
                return Ok((value, after.get(1..).unwrap_or_default()));
            }
            '\\' => {
                let (_, escaped) = characters.next().ok_or(MalformedCredentials::Grammar)?;
                unescaped.get_or_insert_with(|| before.to_owned()).push(escaped);
            }
            character => {
                if let Some(unescaped) = &mut unescaped {
                    unescaped.push(character);
                }
            }
        }
    }
    Err(MalformedCredentials::Grammar)
}

/// <https://datatracker.ietf.org/doc/html/rfc9110#section-5.6.2>
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::server_name;

    use super::*;

    #[test]
    fn every_form_that_servers_write_is_read() {
        let expected = Credentials {
            origin: server_name!("origin.example:8448").to_owned(),
            destination: Some(server_name!("here.example").to_owned()),
            key_id: "ed25519:a_1".to_owned(),
            signature: "AB+/cd".to_owned(),
        };
        for header in [
            r#"X-Matrix origin="origin.example:8448",destination="here.example",key="ed25519:a_1",sig="AB+/cd""#,
            "x-matrix origin=origin.example:8448,destination=here.example,key=ed25519:a_1,sig=AB+/cd",
            r#"X-Matrix  KEY="ed25519\:a_1" , Sig="AB+/cd",new="x,\"y", origin="origin.example:8448",	destination="here.example","#,
        ] {
            assert_eq!(Credentials::parse(header), Ok(expected.clone()), "{header}");
        }
        assert_eq!(Credentials::parse(&expected.to_header()), Ok(expected));
    }

    #[test]
    fn anything_else_is_refused() {
        use MalformedCredentials::{Grammar, OtherScheme, Parameter};
        for (header, error) in [
            ("", OtherScheme),
            ("X-Matrix", OtherScheme),
            ("Bearer abc", OtherScheme),
            ("X-Matrix origin", Grammar),
            ("X-Matrix origin=", Grammar),
            ("X-Matrix origin=\"a", Grammar),
            ("X-Matrix origin=\"a\\", Grammar),
            ("X-Matrix origin=\"a\"b", Grammar),
            ("X-Matrix or igin=a", Grammar),
            ("X-Matrix origin=ä", Grammar),
            ("X-Matrix key=a,sig=b", Parameter("origin")),
            ("X-Matrix origin=a,sig=b", Parameter("key")),
            ("X-Matrix origin=a,key=k", Parameter("sig")),
            ("X-Matrix origin=a,origin=a,key=k,sig=b", Parameter("origin")),
            ("X-Matrix origin=\"a b\",key=k,sig=b", Parameter("origin")),
            ("X-Matrix origin=a,key=k,sig=b,destination=\"\"", Parameter("destination")),
        ] {
            assert_eq!(Credentials::parse(header), Err(error), "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_is_too_strange(text in r#"(X-Matrix )?[a-z=,"\\ :ä]{0,40}"#) {
            let _ = Credentials::parse(&text);
        }
    }
}
