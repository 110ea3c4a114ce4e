use crate::Config;

impl Config {
    /// The effective configuration as TOML: defaults filled in, secrets redacted.
    pub fn show(&self) -> String {
        toml::to_string(&self.effective()).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
    }

    /// The same with every default that follows from other values, or from this machine.
    pub(crate) fn effective(&self) -> Self {
        let mut effective = self.clone();
        let pool = self.pool();
        effective.server.worker_threads = u32::try_from(self.server.worker_thread_count()).ok();
        effective.server.signing_key_path = Some(self.signing_key_path());
        effective.database.url = Some(self.database_url());
        effective.database.min_connections = Some(pool.min_connections);
        effective.database.max_connections = Some(pool.max_connections);
        effective.limits = self.limits.filled_in();
        effective.media.path = Some(self.media_path());
        if self.email.smtp_host.is_some() {
            effective.email.smtp_port.get_or_insert(self.email.tls.usual_port());
        }
        effective
    }
}
