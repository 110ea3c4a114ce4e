//! Sending traces to a collector by the [OpenTelemetry protocol](https://opentelemetry.io/docs/specs/otlp/) over gRPC.
//!
//! Requests never wait for it: spans go into a queue of bounded length, a thread of its own sends them in batches, and what does
//! not fit or cannot be sent is dropped and counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::{Context, KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{WithExportConfig as _, WithTonicConfig as _, tonic_types::transport::ClientTlsConfig};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, Span, SpanData, SpanExporter, SpanLimits,
        SpanProcessor,
    },
};
use tokio::{runtime::Handle, time::timeout};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{filter::filter_fn, layer::Layer, registry::LookupSpan};

use super::{request::REQUEST_TARGET, sampler::OwnDecision};
use crate::LogsError;

/// Spans that wait to be sent, or are being sent.
const MAX_WAITING: usize = 4_096;
/// Most spans in one message.
const MAX_BATCH: usize = 512;
/// A span is sent at the latest so long after its end.
const SEND_EVERY: Duration = Duration::from_secs(2);
/// How long the collector may take for a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server that stops waits for the last spans to be sent.
const LAST_SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// Where traces go, and what they say of this process.
#[derive(Debug, Clone)]
pub struct TraceOptions {
    /// The collector's address, such as `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// The share of requests that are recorded, from 0 to 1.
    pub sampling: f64,
    /// The version of the program.
    pub version: &'static str,
    /// The name of the homeserver.
    pub server_name: String,
}

/// What became of the spans that have ended.
#[derive(Debug, Default)]
pub struct SpanCounts {
    waiting: AtomicUsize,
    sent: AtomicU64,
    not_queued: AtomicU64,
    not_sent: AtomicU64,
}

impl SpanCounts {
    /// Spans that the collector has received.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Spans that were dropped because too many waited to be sent.
    #[must_use]
    pub fn not_queued(&self) -> u64 {
        self.not_queued.load(Ordering::Relaxed)
    }

    /// Spans that were dropped because the collector did not take them.
    #[must_use]
    pub fn not_sent(&self) -> u64 {
        self.not_sent.load(Ordering::Relaxed)
    }
}

/// Sends the traces of this process.
pub struct Traces {
    provider: SdkTracerProvider,
    counts: Arc<SpanCounts>,
}

impl Traces {
    /// Connects when there is something to send. Has to be called in the runtime that it is to be sent from.
    ///
    /// # Errors
    ///
    /// When the endpoint is no address.
    pub fn new(options: TraceOptions) -> Result<Self, LogsError> {
        let wrong = |reason: String| LogsError::Endpoint { endpoint: options.endpoint.clone(), reason };
        let runtime = Handle::try_current().map_err(|error| wrong(error.to_string()))?;
        let mut exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(&options.endpoint);
        if options.endpoint.starts_with("https:") {
            exporter = exporter.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
        }
        let exporter = exporter.with_timeout(SEND_TIMEOUT).build().map_err(|error| wrong(error.to_string()))?;
        let counts = Arc::new(SpanCounts::default());
        let exporter = Sending { exporter, runtime, counts: counts.clone(), is_failing: AtomicBool::new(false) };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(MAX_WAITING)
            .with_max_export_batch_size(MAX_BATCH)
            .with_scheduled_delay(SEND_EVERY);
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches.build()).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Queueing { processor, counts: counts.clone() })
            .with_sampler(OwnDecision { ratio: options.sampling })
            .with_span_limits(SpanLimits { max_events_per_span: 32, ..SpanLimits::default() })
            .with_resource(resource(&options))
            .build();
        Ok(Self { provider, counts })
    }

    /// What became of the spans, also later.
    #[must_use]
    pub fn counts(&self) -> Arc<SpanCounts> {
        self.counts.clone()
    }

    /// What makes traces of this process's spans.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("synapse-rust"))
            .with_location(false)
            .with_threads(false)
            .with_level(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(filter_fn(is_traced).with_max_level_hint(Level::DEBUG))
    }

    /// Sends what waits, for two seconds at most, and stops.
    pub async fn shutdown(self) {
        let shut_down = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(LAST_SEND_TIMEOUT));
        if let Ok(Err(error)) = shut_down.await {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

fn resource(options: &TraceOptions) -> Resource {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Resource::builder_empty()
        .with_service_name("synapse-rust")
        .with_attribute(KeyValue::new("service.version", options.version))
        .with_attribute(KeyValue::new("service.instance.id", node))
        .with_attribute(KeyValue::new("matrix.server_name", options.server_name.clone()))
        .build()
}

/// Whether a span is of this server's own crates. The libraries that send traces make spans too, and tracing those would never end.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    const CRATES: [&str; 16] = [
        REQUEST_TARGET,
        "accounts",
        "api",
        "background",
        "database",
        "event_log",
        "federation",
        "media",
        "push",
        "push_rules",
        "room_engine",
        "rooms",
        "storage",
        "sync",
        "synapse_rust",
        "tasks",
    ];
    let least = if metadata.is_span() { Level::DEBUG } else { Level::INFO };
    let target = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= least && CRATES.contains(&target)
}

/// Bounds the queue of spans, and counts the spans that it drops.
#[derive(Debug)]
struct Queueing {
    processor: BatchSpanProcessor,
    counts: Arc<SpanCounts>,
}

impl SpanProcessor for Queueing {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if self.counts.waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING {
            self.processor.on_end(span);
        } else {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.not_queued.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

/// Sends batches, each for a limited time, and says once when that does not work and once when it works again.
#[derive(Debug)]
struct Sending {
    exporter: opentelemetry_otlp::SpanExporter,
    runtime: Handle,
    counts: Arc<SpanCounts>,
    is_failing: AtomicBool,
}

impl SpanExporter for Sending {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let length = batch.len();
        let sending = {
            // This runs on a thread of its own, which has no timer.
            let _runtime = self.runtime.enter();
            timeout(SEND_TIMEOUT, self.exporter.export(batch))
        };
        let sent = sending.await.unwrap_or(Err(OTelSdkError::Timeout(SEND_TIMEOUT)));
        self.counts.waiting.fetch_sub(length, Ordering::Relaxed);
        let count = if sent.is_ok() { &self.counts.sent } else { &self.counts.not_sent };
        count.fetch_add(length as u64, Ordering::Relaxed);
        let was_failing = self.is_failing.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !was_failing => {
                tracing::warn!(%error, "traces cannot be sent and are dropped until they can")
            }
            Ok(()) if was_failing => tracing::info!("traces are sent again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
