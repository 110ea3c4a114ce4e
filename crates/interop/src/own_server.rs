//! This server, with a configuration for the scenarios.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::authority::TlsFiles;
use crate::process::Server;

/// The server, not started yet. Everything it owns is below `folder`.
pub(crate) fn prepare(
    program: &Path,
    folder: &Path,
    tls: &TlsFiles,
    (client_port, federation_port): (u16, u16),
    database: Option<&str>,
) -> Result<Server> {
    let data = folder.join("data");
    let database = database.map_or_else(|| format!("sqlite://{}/homeserver.db", data.display()), str::to_owned);
    let name = format!("127.0.0.1:{federation_port}");
    let configuration = format!(
        r#"[server]
name = "{name}"
public_base_url = "http://127.0.0.1:{client_port}"
data_dir = "{data}"

[[listeners]]
bind = "127.0.0.1:{client_port}"
resources = ["client", "media", "health"]

[[listeners]]
bind = "127.0.0.1:{federation_port}"
resources = ["federation", "media"]
tls = {{ certificate = "{certificate}", private_key = "{private_key}" }}

[database]
url = "{database}"

[registration]
enabled = true

[passwords]
hash_memory = "8KiB"
hash_iterations = 1

[network]
trusted_ca = ["{authority}"]
allow_private_addresses = true

[rate_limits]
enabled = false
"#,
        data = data.display(),
        certificate = tls.certificate.display(),
        private_key = tls.private_key.display(),
        authority = tls.authority.display(),
    );
    let path = folder.join("homeserver.toml");
    fs::write(&path, configuration)?;
    let arguments = vec!["--config".to_owned(), path.display().to_string()];
    let url = format!("http://127.0.0.1:{client_port}");
    Ok(Server::new(name, url, program, arguments, folder.join("server.log")))
}
