use std::{
    path::{self, Path, PathBuf},
    sync::Arc,
};

use config::{Changes, Config, Loaded, LogFormat, Telemetry};
use telemetry::{LogOptions, Logs, LogsError, SpanCounts, TraceOptions, Traces};
use tokio::signal::unix::{SignalKind, signal};

use super::{CommandResult, load, print};
use crate::{
    Bound, InheritedSockets, RunningServer, StartError, StartOptions, VERSION, runtime, start_with,
    supervisor::Supervisor,
};

/// Serves until a signal ends it.
pub(super) fn run(file: Option<PathBuf>) -> CommandResult {
    // Before there are other threads, which must not read the environment while it changes.
    let inherited = InheritedSockets::from_environment();
    let loaded = load(file.as_ref())?;
    let runtime = runtime::build(loaded.config.server.worker_thread_count())?;
    Ok(runtime.block_on(async {
        let (logs, traces) = install_logs(&loaded.config)?;
        let counts = traces.as_ref().map(Traces::counts);
        let served = serve(file, loaded, inherited, (logs, counts)).await;
        if let Some(traces) = traces {
            traces.shutdown().await;
        }
        served
    })?)
}

fn install_logs(config: &Config) -> Result<(Logs, Option<Traces>), LogsError> {
    let Telemetry { log_format, log_filter, otlp_endpoint, otlp_sampling, .. } = &config.telemetry;
    let traces = otlp_endpoint.as_ref().map(|endpoint| TraceOptions {
        endpoint: endpoint.to_string(),
        sampling: otlp_sampling.ratio(),
        version: VERSION,
        server_name: config.server.name.to_string(),
    });
    telemetry::install_logs(LogOptions { json: *log_format == LogFormat::Json, filter: log_filter, traces })
}

async fn serve(
    file: Option<PathBuf>,
    loaded: Loaded,
    inherited: InheritedSockets,
    (logs, traces): (Logs, Option<Arc<SpanCounts>>),
) -> Result<(), StartError> {
    let supervisor = Supervisor::from_environment();
    // Listened for before the start: a signal that comes during it is not lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Runtime)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(StartError::Runtime)?;
    tell_where(&loaded.config, file.as_ref());
    let database = loaded.config.database_url();
    supervisor.status("Opening the database");
    let mut server = start_with(loaded, StartOptions { sockets: inherited, ..StartOptions::default() }).await?;
    if let Some(counts) = traces {
        server.observe_traces(counts);
    }
    if let Some(token) = server.first_account_token().await? {
        // Not a log line: the token is for the person at the terminal, must not be in a file of logs, and no filter may hide it.
        // Nobody may be there to read it; it is printed at every start until there is an account.
        let _ = print(&format!(
            "There is no account yet. The first one, registered with the registration token {token}, becomes an \
             administrator.\n"
        ));
    }
    // Not before the listeners: the first address in the log is taken for theirs.
    tracing::info!(%database, "ready");
    supervisor.ready(&serving(&server));
    let watchdog = tokio::spawn(supervisor.clone().keep_watchdog(server.database().clone()));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => {
                supervisor.reloading();
                let is_applied = reload(&mut server, file.as_ref(), &logs);
                let refused = if is_applied { "" } else { ", with the old configuration: the new one is refused" };
                supervisor.ready(&(serving(&server) + refused));
            }
        }
    }
    tracing::info!("stopping: finishing requests in flight");
    supervisor.stopping();
    server.shutdown().await;
    watchdog.abort();
    tracing::info!("stopped");
    Ok(())
}

/// Logs the version and the files that the server works with, for readers who did not set it up.
fn tell_where(config: &Config, file: Option<&PathBuf>) {
    let configuration = file.map_or_else(|| "none".to_owned(), |file| absolute(file));
    tracing::info!(
        version = VERSION,
        name = %config.server.name,
        configuration,
        data_dir = absolute(&config.server.data_dir),
        "starting"
    );
}

fn absolute(path: &Path) -> String {
    path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// One line for the service manager's status.
fn serving(server: &RunningServer) -> String {
    let urls: Vec<_> = server.bound().iter().map(Bound::url).collect();
    format!("Serving {}", urls.join(", "))
}

/// Whether the configuration could be applied.
fn reload(server: &mut RunningServer, file: Option<&PathBuf>, logs: &Logs) -> bool {
    let applied = load(file).and_then(|new| {
        let changes = server.reload(&new)?;
        logs.set_filter(&new.config.telemetry.log_filter)
            .map_err(|error| new.sources.error("telemetry.log_filter", error.to_string()))?;
        Ok(changes)
    });
    match applied {
        Ok(Changes { reloadable, need_restart }) => {
            let changed = if reloadable.is_empty() { "nothing".to_owned() } else { reloadable.join(", ") };
            tracing::info!(changed, "configuration reloaded");
            if !need_restart.is_empty() {
                tracing::warn!(keys = need_restart.join(", "), "these changes take effect after a restart");
            }
            true
        }
        Err(error) => {
            tracing::error!("the configuration is refused and the old one stays: {error}");
            false
        }
    }
}
