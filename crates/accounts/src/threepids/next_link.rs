//! Where people go after they confirmed an address.

use url::Url;

use super::{EmailValidation, ThreepidError};

/// The longest link, in bytes.
const MAX_LINK_BYTES: usize = 2048;

/// The link that a client gave, if people may be sent there; other hosts are left out, and the people stay on our page. So
/// nobody can send a mail from here that leads elsewhere.
pub(super) fn allowed(validation: &EmailValidation, link: Option<&str>) -> Result<Option<String>, ThreepidError> {
    let refused = |problem| ThreepidError::InvalidParameter("next_link", problem);
    let Some(link) = link else { return Ok(None) };
    if link.len() > MAX_LINK_BYTES {
        return Err(refused("longer than 2048 bytes"));
    }
    let url = Url::parse(link).map_err(|_| refused("not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused("not an http or https URL"));
    }
    let is_plain = url.username().is_empty() && url.password().is_none();
    let is_listed = |host: &str| validation.next_link_hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
    let is_allowed = is_plain && url.host_str().is_some_and(is_listed);
    Ok(is_allowed.then(|| url.to_string()))
}

/// The origin of a link, such as `https://chat.example.org`.
#[must_use]
pub fn link_origin(link: &str) -> Option<String> {
    let origin = Url::parse(link).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

/// The host of a link, such as `chat.example.org`.
#[must_use]
pub fn link_host(link: &str) -> Option<String> {
    Url::parse(link).ok()?.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(link: &str) -> Result<Option<String>, ThreepidError> {
        let next_link_hosts = vec!["chat.example.org".to_owned()];
        super::allowed(&EmailValidation { hide_known_addresses: true, next_link_hosts }, Some(link))
    }

    #[test]
    fn links_to_listed_hosts_stay_and_others_are_left_out() {
        let link = "https://chat.example.org/#/register?session_id=a&b=c";
        assert_eq!(allowed(link).unwrap().as_deref(), Some(link));
        assert!(allowed("http://CHAT.example.org:8080/").unwrap().is_some());
        for other in [
            "https://evil.example/",
            "https://chat.example.org.evil.example/",
            "https://chat.example.org@evil.example/",
            "https://evil@chat.example.org/",
            "http:///\\evil.example/",
        ] {
            assert_eq!(allowed(other).unwrap(), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_web_address_is_refused() {
        for link in [
            "javascript:alert(1)",
            "data:text/html,x",
            "/path",
            "",
            "ftp://chat.example.org/",
            &format!("https://chat.example.org/{}", "x".repeat(2048)),
        ] {
            assert!(matches!(allowed(link), Err(ThreepidError::InvalidParameter("next_link", _))), "{link}");
        }
    }
}
