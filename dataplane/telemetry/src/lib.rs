//! What every process of Eddy does alike: logging, metrics, traces, health and shutdown.

mod admin;
mod error_chain;
mod gauges;
mod health;
mod logging;
mod process_metrics;
mod shutdown;

pub use self::admin::{Admin, AdminError};
pub use self::error_chain::error_chain;
pub use self::gauges::{Figure, Gauges, figure};
pub use self::health::{Health, Readiness};
pub use self::logging::{LogFormat, Telemetry, TelemetryError, TelemetryOptions};
pub use self::shutdown::{Shutdown, ShutdownError};
pub use opentelemetry_sdk::trace::SdkTracer as Tracer;
pub use prometheus_client as prometheus;
