//! Servers started in this process, as other tests do.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly in the functions around it too"
)]

use std::{fs, path::Path, sync::Arc};

use config::Loaded;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use synapse_rust::{RunningServer, start};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

const PLAIN: &str = "[[listeners]]\nbind = '127.0.0.1:0'\n";

fn configured(directory: &Path, listeners: &str) -> Loaded {
    let path = directory.join("homeserver.toml");
    let text = format!("server = {{ data_dir = '{}' }}\n{listeners}", directory.join("data").display());
    fs::write(&path, text).unwrap();
    config::load(Some(&path), [("", ""); 0]).unwrap()
}

async fn exchange(mut io: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    io.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn get(server: &RunningServer, listener: usize, path: &str) -> String {
    exchange(TcpStream::connect(server.bound()[listener].address().unwrap()).await.unwrap(), path).await
}

#[tokio::test]
async fn two_servers_run_in_one_process() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let one = start(configured(directories[0].path(), PLAIN)).await.unwrap();
    let other = start(configured(directories[1].path(), PLAIN)).await.unwrap();
    assert_ne!(one.bound()[0].address(), other.bound()[0].address());
    for server in [&one, &other] {
        let answer = get(server, 0, "/_matrix/client/versions").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"versions\""), "{answer}");
    }
    let metrics = get(&other, 0, "/metrics").await;
    let counted = "http_requests_total{method=\"GET\",route=\"/_matrix/client/versions\",status=\"200\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    one.shutdown().await;
    let health = get(&other, 0, "/health").await;
    assert!(health.contains("\"status\":\"healthy\""), "{health}");
    other.shutdown().await;
}

#[tokio::test]
async fn a_listener_serves_its_resources_alone() {
    let directory = tempfile::tempdir().unwrap();
    let listeners = "[[listeners]]\nbind = '127.0.0.1:0'\nresources = ['client']\n\
                     [[listeners]]\nbind = '127.0.0.1:0'\nresources = ['health', 'metrics']\n";
    let server = start(configured(directory.path(), listeners)).await.unwrap();
    for (listener, path, status) in [
        (0, "/_matrix/client/versions", 200),
        (0, "/health", 404),
        (0, "/_synapse/metrics", 404),
        (1, "/_matrix/client/versions", 404),
        (1, "/health", 200),
        (1, "/_synapse/metrics", 200),
    ] {
        let answer = get(&server, listener, path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
    }
    server.shutdown().await;
}

/// Writes a new certificate for `localhost` and its key, and gives the certificate.
fn certify(directory: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    CertificateDer::from_pem_file(directory.join("cert.pem")).unwrap()
}

async fn versions_over_tls(server: &RunningServer, trusted: &CertificateDer<'static>) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.bound()[0].address().unwrap()).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
    Ok(exchange(stream, "/_matrix/client/versions").await)
}

#[tokio::test]
async fn a_renewed_certificate_is_used_after_a_reload() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let first = certify(directory);
    let listeners = format!(
        "[[listeners]]\nbind = '127.0.0.1:0'\ntls = {{ certificate = '{0}/cert.pem', private_key = '{0}/key.pem' }}\n",
        directory.display()
    );
    let loaded = configured(directory, &listeners);
    let mut server = start(loaded.clone()).await.unwrap();
    assert!(server.bound()[0].url().starts_with("https://127.0.0.1:"));
    assert!(versions_over_tls(&server, &first).await.unwrap().starts_with("HTTP/1.1 200 OK"));

    fs::write(directory.join("cert.pem"), "no certificate").unwrap();
    let error = server.reload(&loaded).unwrap_err();
    assert_eq!(error.key(), Some("listeners[0].tls.certificate"));
    assert!(versions_over_tls(&server, &first).await.is_ok(), "the old certificate stays");

    let second = certify(directory);
    server.reload(&loaded).unwrap();
    assert!(versions_over_tls(&server, &second).await.unwrap().starts_with("HTTP/1.1 200 OK"));
    assert!(versions_over_tls(&server, &first).await.is_err());
    server.shutdown().await;
}

#[tokio::test]
async fn what_the_server_owns_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    start(configured(directory.path(), PLAIN)).await.unwrap().shutdown().await;
    let mode = |name: &str| fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("data"), 0o700);
    assert_eq!(mode("data/signing.key"), 0o600);
    assert!(directory.path().join("data/homeserver.db").exists());
}
