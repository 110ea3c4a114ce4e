//! What holds of the `Authorization` header of any request.

use federation::credentials::Credentials;

/// Panics if it does not hold.
pub(crate) fn check(input: &[u8]) {
    let Ok(header) = std::str::from_utf8(input) else { return };
    let Ok(credentials) = Credentials::parse(header) else { return };
    assert!(header.len() >= credentials.origin.as_str().len(), "what is read is in the header");
    // This server writes its own keys and signatures, which have nothing to escape.
    let is_plain = |text: &str| !text.contains(['"', '\\']);
    if is_plain(&credentials.key_id) && is_plain(&credentials.signature) {
        assert_eq!(Credentials::parse(&credentials.to_header()).as_ref(), Ok(&credentials), "written and read again");
    }
}
