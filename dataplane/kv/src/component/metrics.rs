//! What a replica tells of itself.

use eddy_telemetry::{Figure, figure};

use crate::replicated::Replicated;

/// Asked at each scrape.
pub(super) fn gauges(replica: &Replicated) -> Vec<Figure> {
    let status = replica.status();
    let voters = status.members.iter().filter(|member| member.voter).count();
    let mut gauges = vec![
        ("eddy_kv_leads", "1 if this replica leads", i64::from(replica.leads())),
        ("eddy_kv_leader_known", "1 if this replica knows who leads", i64::from(status.leader.is_some())),
        ("eddy_kv_term", "How often a leader was looked for", figure(status.term)),
        ("eddy_kv_log_last_index", "The last command of the log", figure(status.last.unwrap_or_default())),
        ("eddy_kv_applied_index", "The last command applied to the rows", figure(status.applied.unwrap_or_default())),
        ("eddy_kv_voters", "Replicas that vote", figure(voters)),
        ("eddy_kv_standbys", "Replicas that do not", figure(status.members.len() - voters)),
    ];
    if let Some(space) = replica.space() {
        gauges.push(("eddy_kv_disk_bytes", "Room of the disk", figure(space.total_bytes)));
        gauges.push(("eddy_kv_disk_available_bytes", "What is left of it", figure(space.available_bytes)));
    }
    gauges
}
