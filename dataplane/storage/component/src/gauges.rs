//! Figures that are asked for at each scrape.

use std::fmt;

use eddy_telemetry::prometheus::collector::Collector;
use eddy_telemetry::prometheus::encoding::{DescriptorEncoder, EncodeMetric};
use eddy_telemetry::prometheus::metrics::gauge::ConstGauge;

/// A name, what it means, and the figure.
pub(crate) type Figure = (&'static str, &'static str, i64);

/// Asks for figures at each scrape.
pub(crate) struct Gauges<F>(pub(crate) F);

impl<F> fmt::Debug for Gauges<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Gauges")
    }
}

impl<F: Fn() -> Vec<Figure> + Send + Sync + 'static> Collector for Gauges<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, figure) in (self.0)() {
            let gauge = ConstGauge::new(figure);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// A figure as Prometheus takes it.
pub(crate) fn number(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
