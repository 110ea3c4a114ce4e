//! Certificates of the servers that tests start.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Accepts connections with a new certificate for `name`, its own authority, which is written to `file`.
pub(crate) fn acceptor(name: &str, file: &Path) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate can be made");
    fs::write(file, made.cert.pem()).expect("the certificate can be written");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("the key is that of the certificate");
    TlsAcceptor::from(Arc::new(config))
}

/// A certificate authority of a test, which all servers of a network trust.
pub struct TestAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl TestAuthority {
    /// A new authority.
    ///
    /// # Panics
    /// When its certificate cannot be written.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate can be made");
        let folder = tempfile::tempdir().expect("a folder can be made");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("the certificate can be written");
        Self { issuer, folder }
    }

    /// The PEM file of its certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The PEM files of a certificate for the server of this name and of its key.
    ///
    /// # Panics
    /// When they cannot be written.
    #[must_use]
    pub fn certify(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("a key can be made");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("the name is one of the DNS");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate can be made");
        let file = |ending: &str| self.folder.path().join(format!("{name}.{ending}.pem"));
        let files = (file("cert"), file("key"));
        fs::write(&files.0, certificate.pem()).expect("the certificate can be written");
        fs::write(&files.1, key.serialize_pem()).expect("the key can be written");
        files
    }
}

impl Default for TestAuthority {
    fn default() -> Self {
        Self::new()
    }
}
