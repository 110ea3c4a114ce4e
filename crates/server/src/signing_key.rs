//! The key that signs this server's events, in a file of the form that Synapse uses: `ed25519 a_XXXX BASE64`, where the
//! last word is the 32-byte seed in unpadded base64.
//!
//! <https://spec.matrix.org/v1.19/appendices/#signing-details>

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use homeserver_core::random_string;
use rand::{TryRngCore as _, rngs::OsRng};
use ruma::signatures::Ed25519KeyPair;

use crate::StartError;

const SEED_SIZE_BYTES: usize = 32;

/// Written without padding. Read as other implementations do: with or without it, whatever the unused bits at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The bytes before the seed of an Ed25519 key in [PKCS#8](https://www.rfc-editor.org/rfc/rfc8410#section-7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Reads the key; `None` if there is no file.
pub(crate) fn read(path: &Path) -> Result<Option<Ed25519KeyPair>, StartError> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text).map(Some).map_err(failed(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(format!("cannot be read: {error}"))),
    }
}

/// Makes a key and its file, where there is none.
pub(crate) fn make(path: &Path) -> Result<Ed25519KeyPair, StartError> {
    let text = generate().map_err(failed(path))?;
    write(path, &text).map_err(|error| failed(path)(format!("cannot be written: {error}")))?;
    parse(&text).map_err(failed(path))
}

/// Gives the file of a former key another name, with the key's version in it.
pub(crate) fn set_aside(path: &Path, version: &str) -> Result<(), StartError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".old-{version}"));
    fs::rename(path, &name).map_err(|error| failed(path)(format!("cannot be renamed: {error}")))
}

fn failed(path: &Path) -> impl Fn(String) -> StartError {
    move |problem| StartError::SigningKey { path: path.to_owned(), problem }
}

fn generate() -> Result<String, String> {
    let mut seed = [0; SEED_SIZE_BYTES];
    OsRng.try_fill_bytes(&mut seed).map_err(|error| format!("no randomness from the system: {error}"))?;
    Ok(format!("ed25519 a_{} {}\n", random_string(4), BASE64.encode(seed)))
}

/// Takes the first key of the file; further ones are former keys in Synapse's files.
fn parse(text: &str) -> Result<Ed25519KeyPair, String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let words: Vec<_> = line.unwrap_or_default().split_whitespace().collect();
    let ["ed25519", version, seed] = *words.as_slice() else {
        return Err("expected a line \"ed25519 VERSION SEED\"".to_owned());
    };
    if version.is_empty() || !version.chars().all(|character| character.is_ascii_alphanumeric() || character == '_') {
        return Err("expected a version of letters, digits and underscores".to_owned());
    }
    let seed = BASE64.decode(seed).ok().filter(|seed| seed.len() == SEED_SIZE_BYTES);
    let seed = seed.ok_or("expected a seed of 32 bytes in base64")?;
    let document = [PKCS8_PREFIX.as_slice(), &seed].concat();
    Ed25519KeyPair::from_der(&document, version.to_owned()).map_err(|error| error.to_string())
}

/// Writes beside the file first: a crash leaves no half key under the name.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("key.new");
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::{make, parse, read, set_aside};

    #[test]
    fn a_key_is_made_once_and_for_this_user_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("signing.key");
        assert!(read(&path).unwrap().is_none());
        let made = make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let found = read(&path).unwrap().unwrap();
        assert_eq!(made.public_key(), found.public_key());
        assert_eq!(made.version(), found.version());
        assert!(found.version().starts_with("a_") && found.version().len() == 6);
        set_aside(&path, found.version()).unwrap();
        assert!(read(&path).unwrap().is_none());
    }

    #[test]
    fn the_key_of_the_specifications_test_vectors_is_read() {
        // https://spec.matrix.org/v1.19/appendices/#cryptographic-test-vectors
        let key = parse("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1\n").unwrap();
        assert_eq!(key.version(), "1");
    }

    #[test]
    fn another_file_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("signing.key");
        for text in
            ["", "rsa 1 abc", "ed25519 a_1 dG9vIHNob3J0", "ed25519 a:1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"]
        {
            fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("signing.key: expected a"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
