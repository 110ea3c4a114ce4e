use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use config::{Sources, Tls};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

/// The certificate of one listener, which can be read again while connections are accepted.
pub(crate) struct Certificate {
    current: ArcSwap<ServerConfig>,
}

impl Certificate {
    /// Reads the files; `key` is the listener's key in the configuration, for errors.
    pub(crate) fn load(tls: &Tls, key: &str, sources: &Sources) -> Result<Self, config::Error> {
        Ok(Self { current: ArcSwap::new(read(tls, key, sources)?) })
    }

    /// Takes over what another one has read.
    pub(crate) fn replace(&self, new: &Self) {
        self.current.store(new.current.load_full());
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

fn read(tls: &Tls, key: &str, sources: &Sources) -> Result<Arc<ServerConfig>, config::Error> {
    let wrong = |name: &str, path: &Path, expected: &str, reason: &dyn std::fmt::Display| {
        let problem = format!("expected {} to hold {expected}: {reason}", path.display());
        sources.error(&format!("{key}.tls.{name}"), problem)
    };
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong("certificate", &tls.certificate, "certificates in PEM", &error))?;
    if chain.is_empty() {
        return Err(wrong("certificate", &tls.certificate, "certificates in PEM", &"there is none"));
    }
    let private_key = PrivateKeyDer::from_pem_file(&tls.private_key)
        .map_err(|error| wrong("private_key", &tls.private_key, "a private key in PEM", &error))?;
    // The provider is named here rather than installed for the process: nothing of a server is global.
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private_key))
        .map_err(|error| wrong("private_key", &tls.private_key, "the key of the certificate", &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
