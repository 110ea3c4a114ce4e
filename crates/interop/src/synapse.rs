//! Synapse, with a configuration for the scenarios.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::authority::TlsFiles;
use crate::process::Server;

/// Synapse's module that is the whole server.
const MODULE: &str = "synapse.app.homeserver";

/// The server, not started yet, run by a Python that has Synapse. Everything it owns is below `folder`.
pub(crate) fn prepare(
    python: &Path,
    folder: &Path,
    tls: &TlsFiles,
    (client_port, federation_port): (u16, u16),
) -> Result<Server> {
    let name = format!("127.0.0.1:{federation_port}");
    let configuration = format!(
        r#"server_name: "{name}"
public_baseurl: "http://127.0.0.1:{client_port}/"
pid_file: "{folder}/synapse.pid"
listeners:
  - {{port: {client_port}, bind_addresses: ["127.0.0.1"], type: http, tls: false, resources: [{{names: [client]}}]}}
  - {{port: {federation_port}, bind_addresses: ["127.0.0.1"], type: http, tls: true, resources: [{{names: [federation]}}]}}
tls_certificate_path: "{certificate}"
tls_private_key_path: "{private_key}"
federation_custom_ca_list: ["{authority}"]
ip_range_blacklist: []
federation_ip_range_blacklist: []
database: {{name: sqlite3, args: {{database: "{folder}/homeserver.db"}}}}
media_store_path: "{folder}/media"
signing_key_path: "{folder}/signing.key"
trusted_key_servers: []
report_stats: false
macaroon_secret_key: "of no use outside of a test"
form_secret: "of no use outside of a test"
enable_registration: true
enable_registration_without_verification: true
allow_public_rooms_over_federation: true
bcrypt_rounds: 4
rc_message: {{per_second: 1000, burst_count: 1000}}
rc_registration: {{per_second: 1000, burst_count: 1000}}
rc_login: {{address: {{per_second: 1000, burst_count: 1000}}, account: {{per_second: 1000, burst_count: 1000}}}}
rc_joins: {{local: {{per_second: 1000, burst_count: 1000}}, remote: {{per_second: 1000, burst_count: 1000}}}}
rc_joins_per_room: {{per_second: 1000, burst_count: 1000}}
rc_invites: {{per_room: {{per_second: 1000, burst_count: 1000}}, per_user: {{per_second: 1000, burst_count: 1000}}, per_issuer: {{per_second: 1000, burst_count: 1000}}}}
federation: {{destination_min_retry_interval: 1s, destination_max_retry_interval: 2s}}
"#,
        folder = folder.display(),
        certificate = tls.certificate.display(),
        private_key = tls.private_key.display(),
        authority = tls.authority.display(),
    );
    let path = folder.join("homeserver.yaml");
    fs::write(&path, configuration)?;
    let arguments = vec!["-m".to_owned(), MODULE.to_owned(), "-c".to_owned(), path.display().to_string()];
    let made = Command::new(python).args(&arguments).arg("--generate-keys").output().context("starting Python")?;
    if !made.status.success() {
        bail!("Synapse cannot make its keys: {}", String::from_utf8_lossy(&made.stderr));
    }
    let url = format!("http://127.0.0.1:{client_port}");
    Ok(Server::new(name, url, python, arguments, folder.join("synapse.log")))
}
