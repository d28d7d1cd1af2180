//! What every backend must answer: one suite for all.
//!
//! Each case is given an empty store. `run` tells their names, so that a test fails with the case that failed.

mod contended;
mod model;
mod single;
mod transfer;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use eddy_kv::Store;

/// A store that others use at the same time.
pub(crate) type Shared = Arc<dyn Store>;

type Case = (&'static str, fn(Shared) -> BoxFuture<'static, ()>);

macro_rules! cases {
    ($($module:ident :: $case:ident),* $(,)?) => {
        &[$((stringify!($case), |store| $module::$case(store).boxed())),*]
    };
}

const CASES: &[Case] = cases![
    single::a_row_is_read_as_it_was_written,
    single::keys_are_any_bytes_in_the_order_of_bytes,
    single::a_scan_stays_within_its_range_and_limit,
    single::a_large_page_says_that_there_is_more,
    single::a_check_that_does_not_hold_leaves_everything_as_it_was,
    single::versions_grow,
    single::a_counter_keeps_its_bound,
    single::what_breaks_a_limit_is_refused_and_what_just_fits_is_not,
    contended::a_batch_of_reads_sees_one_version,
    contended::of_writers_who_read_the_same_one_wins,
    contended::adds_do_not_get_lost,
    contended::a_bound_holds_under_contention,
    contended::what_was_acknowledged_is_read_by_everyone,
    model::a_random_history_is_that_of_a_sorted_map,
    transfer::what_is_exported_can_be_imported,
    transfer::an_export_is_of_one_version,
    transfer::rows_are_imported_into_an_empty_store_only,
    transfer::an_import_that_breaks_off_leaves_nothing,
];

/// Runs every case on a store that `fresh` makes for it.
///
/// # Panics
/// After the last case, if any failed: with the names of those that did. What each found is printed as it fails.
pub(crate) async fn run(mut fresh: impl AsyncFnMut() -> Arc<dyn Store>) {
    let mut failed = Vec::new();
    for (name, case) in CASES {
        let store = fresh().await;
        if AssertUnwindSafe(case(store)).catch_unwind().await.is_err() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:?}", failed.len(), CASES.len());
}
