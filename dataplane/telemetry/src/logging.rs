//! Events and spans: to standard error always, to an OpenTelemetry collector if one is named.

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How long a batch of spans may take to leave before it is given up.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Command-line options that every process takes.
#[derive(clap::Args, Clone, Debug)]
pub struct TelemetryOptions {
    /// How log lines are written; for people on a terminal, as JSON elsewhere, if unset.
    #[arg(long, global = true, env = "EDDY_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,

    /// What is logged, in the syntax of `tracing`'s EnvFilter, as in `info,eddy_gateway=debug`.
    ///
    /// The Kubernetes client warns of each failed request of each watch, and openraft of each heartbeat; ours say so
    /// themselves, once.
    #[arg(long, global = true, env = "EDDY_LOG", default_value = "info,kube_client=error,kube_runtime=error,openraft=off")]
    pub log: String,

    /// Where spans are sent by OTLP over gRPC, as in http://collector:4317; nowhere if unset.
    #[arg(long, global = true, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// The share of traces, from 0 to 1, that are sent when this process starts them.
    #[arg(long, global = true, env = "EDDY_TRACE_RATIO", default_value_t = 0.01)]
    pub trace_ratio: f64,
}

/// How log lines are written.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: one line an event, in colour on a terminal.
    Human,
    /// For machines: one JSON object a line.
    Json,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The option `--log` is not a filter.
    #[error("failed to parse the log filter {filter:?}: write it as in info,eddy_gateway=debug")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The option `--otlp-endpoint` cannot be used.
    #[error("failed to set up trace export to {endpoint:?}")]
    Exporter {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// Something else in this process already takes the events.
    #[error("failed to install the log subscriber")]
    Install(#[from] TryInitError),
}

/// What is not logged unless it is asked for: libraries for which each refused request is an error.
const QUIET: &str = "s3s=off";

/// Keeps telemetry going, until [`Telemetry::end`].
#[must_use = "the last spans leave only by `end`"]
pub struct Telemetry {
    tracer_provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sets up logging, panic reports and, if asked for, trace export, for the whole process.
    ///
    /// # Errors
    /// Where an option is unusable, or this is called twice.
    pub fn install(service: &'static str, options: &TelemetryOptions) -> Result<Self, TelemetryError> {
        let filter = format!("{QUIET},{}", options.log);
        let filter =
            EnvFilter::try_new(filter).map_err(|source| TelemetryError::Filter { filter: options.log.clone(), source })?;
        let terminal = std::io::stderr().is_terminal();
        let format = options.log_format.unwrap_or(if terminal { LogFormat::Human } else { LogFormat::Json });
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match format {
            LogFormat::Human => lines.with_ansi(terminal).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
        };

        let tracer_provider =
            options.otlp_endpoint.as_deref().map(|endpoint| exporter(service, endpoint, options.trace_ratio)).transpose()?;
        let spans = tracer_provider.as_ref().map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer(service)));
        tracing_subscriber::registry().with(filter).with(lines).with(spans).try_init()?;
        report_panics();
        Ok(Self { tracer_provider })
    }

    /// Sends what is still buffered, for at most 5 seconds.
    pub async fn end(self) {
        let Some(provider) = self.tracer_provider else { return };
        // It blocks its thread until all is sent, and the connection that it sends over may need this one.
        let sent = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(EXPORT_TIMEOUT)).await;
        if let Ok(Err(error)) = sent {
            tracing::warn!(%error, "failed to send the last spans");
        }
    }

    /// Makes spans without the detour over `tracing`, for paths where that counts; none if nothing is exported.
    pub fn tracer(&self, name: &'static str) -> Option<SdkTracer> {
        self.tracer_provider.as_ref().map(|provider| provider.tracer(name))
    }
}

/// Sends spans in batches from a thread of its own, so that a slow collector never holds up a request.
fn exporter(service: &'static str, endpoint: &str, ratio: f64) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|source| TelemetryError::Exporter { endpoint: endpoint.to_owned(), source })?;
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build())
}

/// A panic goes where log lines go, as one event, with the thread and the place.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic
            .payload()
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.payload().downcast_ref::<String>().map(String::as_str))
            .unwrap_or("(no message)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        tracing::error!(panic = message, place, thread = thread.name().unwrap_or("(unnamed)"), "panicked");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(log: &str) -> TelemetryOptions {
        TelemetryOptions { log_format: None, log: log.into(), otlp_endpoint: None, trace_ratio: 1.0 }
    }

    #[test]
    fn a_wrong_filter_is_named() {
        let error = Telemetry::install("test", &options("info,=,")).err().expect("the filter is wrong");
        assert!(error.to_string().contains("info,=,"), "{error}");
    }
}
