//! What the master does again and again, each work in its own time: what is slow holds up nothing else.

use std::time::Duration;

use eddy_object::ObjectError;
use eddy_storage_master::{Balanced, Coded, Collected, Compacted, Expired, Master, Tiered};
use tokio::time::MissedTickBehavior;

use super::StorageMasterOptions;
use super::figures::Figures;

/// How long objects are moved to another tier, and chunks coded, in a round.
const TIER_FOR: Duration = Duration::from_secs(240);
/// How long chunks are moved before servers are looked at again.
const BALANCE_FOR: Duration = Duration::from_secs(60);

pub(super) async fn run(master: &Master, options: &StorageMasterOptions, figures: &Figures) {
    let scrub_interval = Duration::from_secs(options.scrub_interval_seconds.max(1));
    // What has become due is read within as much time again.
    let age = Duration::from_secs(options.scrub_days * 24 * 3600 / 2);
    tokio::join!(
        every("repair", options.repair_interval_seconds, figures, || repair(master, figures)),
        every("collect", options.collect_interval_seconds, figures, || collect(master, options, figures)),
        every("scrub", options.scrub_interval_seconds, figures, || scrub(master, age, scrub_interval, figures)),
        every("expire", options.lifecycle_interval_seconds, figures, || expire(master, options, figures)),
        every("balance", options.balance_interval_seconds, figures, || balance(master, options, figures)),
        every("tier", options.tier_interval_seconds, figures, || tier(master, options, figures)),
    );
}

async fn every(work: &'static str, seconds: u64, figures: &Figures, mut round: impl AsyncFnMut() -> Result<(), ObjectError>) {
    let mut interval = tokio::time::interval(Duration::from_secs(seconds.max(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        match round().await {
            Ok(()) => figures.ended(work),
            Err(error) => {
                tracing::warn!(work, error = eddy_telemetry::error_chain(&error), "a round failed; it is tried again");
            }
        }
    }
}

async fn repair(master: &Master, figures: &Figures) -> Result<(), ObjectError> {
    let noted = master.note_lost_servers().await?;
    let repaired = master.repair().await?;
    if repaired.noted > 0 || repaired.waiting > 0 {
        tracing::info!(
            noted,
            healthy = repaired.healthy,
            copies = repaired.copies,
            rescued = repaired.rescued,
            bytes = repaired.bytes,
            waiting = repaired.waiting,
            left = repaired.left,
            unreadable = repaired.unreadable.len(),
            "repaired"
        );
    }
    figures.repaired(repaired);
    Ok(())
}

async fn scrub(master: &Master, age: Duration, interval: Duration, figures: &Figures) -> Result<(), ObjectError> {
    let scrubbed = master.scrub(age, interval).await?;
    if scrubbed.noted > 0 {
        tracing::warn!(whole = scrubbed.whole, noted = scrubbed.noted, due = scrubbed.due, "scrubbing found damage");
    }
    figures.scrubbed(scrubbed);
    Ok(())
}

async fn expire(master: &Master, options: &StorageMasterOptions, figures: &Figures) -> Result<(), ObjectError> {
    let Expired { objects, versions, uploads, namespaces } =
        master.expire(Duration::from_secs(options.lifecycle_day_seconds.max(1))).await?;
    if objects + versions + uploads > 0 {
        tracing::info!(objects, versions, uploads, namespaces, "expired");
    }
    figures.expired((objects + versions + uploads) as u64);
    Ok(())
}

async fn collect(master: &Master, options: &StorageMasterOptions, figures: &Figures) -> Result<(), ObjectError> {
    // First, since it makes room for the other.
    let collected = master.collect().await?;
    let Collected { objects, uploads, chunks, files, strays } = collected;
    if objects + uploads + chunks + files > 0 {
        tracing::info!(objects, uploads, chunks, files, strays, "collected");
    }
    let compacted = master.compact(options.compact_above_percent).await?;
    let Compacted { chunks, needles, bytes, failed } = compacted;
    if chunks > 0 {
        tracing::info!(chunks, needles, bytes, failed, "compacted");
    }
    figures.collected(collected, compacted);
    Ok(())
}

async fn tier(master: &Master, options: &StorageMasterOptions, figures: &Figures) -> Result<(), ObjectError> {
    let tiered = master.tier(Duration::from_secs(options.tier_day_seconds.max(1)), TIER_FOR).await?;
    let Tiered { cooled, warmed, recopied, bytes, left, .. } = tiered;
    if cooled + warmed + recopied + left > 0 {
        tracing::info!(cooled, warmed, recopied, bytes, left, "tiered");
    }
    let coded = master.code(TIER_FOR).await?;
    let Coded { chunks, bytes, left, too_few_servers, .. } = coded;
    if chunks + left > 0 {
        tracing::info!(chunks, bytes, left, too_few_servers, "coded");
    }
    figures.tiered(tiered, coded);
    Ok(())
}

async fn balance(master: &Master, options: &StorageMasterOptions, figures: &Figures) -> Result<(), ObjectError> {
    let balanced = master.balance(options.balance_above_percent, BALANCE_FOR).await?;
    let Balanced { moved, bytes, left, draining, stuck } = balanced;
    if moved + left + draining > 0 {
        tracing::info!(moved, bytes, left, draining, stuck, "balanced");
    }
    figures.balanced(balanced);
    Ok(())
}
