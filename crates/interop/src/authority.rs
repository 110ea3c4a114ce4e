//! The certificates of the two servers, and the authority that both trust.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

/// Files that a server needs for TLS.
pub(crate) struct TlsFiles {
    /// The certificate of the authority.
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) private_key: PathBuf,
}

/// Makes an authority and a certificate for 127.0.0.1, in files below `folder`.
pub(crate) fn make(folder: &Path) -> Result<TlsFiles> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "The authority of the two servers");
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(vec!["localhost".to_owned()])?;
    server.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    // OpenSSL takes a certificate with the name of its issuer for one that signed itself.
    server.distinguished_name.push(DnType::CommonName, "One of the two servers");
    let certificate = server.signed_by(&key, &issuer)?;

    let files = TlsFiles {
        authority: folder.join("authority.pem"),
        certificate: folder.join("certificate.pem"),
        private_key: folder.join("private-key.pem"),
    };
    fs::write(&files.authority, authority_certificate.pem())?;
    fs::write(&files.certificate, certificate.pem())?;
    fs::write(&files.private_key, key.serialize_pem())?;
    Ok(files)
}
