//! What a replica tells of itself.

use std::fmt;
use std::sync::Arc;

use eddy_telemetry::prometheus::collector::Collector;
use eddy_telemetry::prometheus::encoding::{DescriptorEncoder, EncodeMetric};
use eddy_telemetry::prometheus::metrics::gauge::ConstGauge;

use crate::replicated::Replicated;

/// Asked at each scrape.
pub(super) struct ReplicaMetrics(pub(super) Arc<Replicated>);

impl fmt::Debug for ReplicaMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ReplicaMetrics")
    }
}

impl Collector for ReplicaMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = self.0.status();
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let voters = status.members.iter().filter(|member| member.voter).count();
        let figures = [
            ("leads", "1 if this replica leads", i64::from(self.0.leads())),
            ("leader_known", "1 if this replica knows who leads", i64::from(status.leader.is_some())),
            ("term", "How often a leader was looked for", number(status.term)),
            ("log_last_index", "The last command of the log", number(status.last.unwrap_or_default())),
            ("applied_index", "The last command applied to the rows", number(status.applied.unwrap_or_default())),
            ("voters", "Replicas that vote", number(voters as u64)),
            ("standbys", "Replicas that do not", number((status.members.len() - voters) as u64)),
        ];
        for (name, help, figure) in figures {
            let gauge = ConstGauge::new(figure);
            let name = format!("eddy_kv_{name}");
            gauge.encode(encoder.encode_descriptor(&name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
