//! Time and chance as the process sees them: the simulation's, not the machine's.
//!
//! The C library's functions for both are defined here anew, so whatever this program links calls these: the standard library,
//! tokio's and openraft's random numbers, hashers. (The approach of madsim and mad-turmoil; here each host's clock may be wrong,
//! too.)
#![allow(unsafe_code, reason = "they are the C library's functions")]

use std::cell::RefCell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use tokio::runtime::{Handle, Id};

/// The simulation begins at this time, in nanoseconds: since 1970 for calendars, since the machine's start for stopwatches.
const BEGINNING: u64 = 1_700_000_000_000_000_000;
/// Real time, until a simulation begins.
const REAL: u64 = 0;

static NOW: AtomicU64 = AtomicU64::new(REAL);
static RANDOM: Mutex<Option<Rng>> = Mutex::new(None);

thread_local! {
    /// By how many milliseconds clocks of hosts are wrong.
    static WRONG: RefCell<Vec<(Id, Arc<AtomicI64>)>> = const { RefCell::new(Vec::new()) };
}

/// From now on, time and chance are the simulation's.
pub(crate) fn begin(seed: u64) {
    *RANDOM.lock().unwrap() = Some(Rng::with_seed(seed));
    fastrand::seed(seed);
    set_elapsed(std::time::Duration::ZERO);
}

/// So much time has passed since the beginning.
pub(crate) fn set_elapsed(elapsed: std::time::Duration) {
    NOW.store(BEGINNING + elapsed.as_nanos() as u64, Ordering::Relaxed);
}

/// The calendar of the host whose runtime this is, is wrong by so many milliseconds, however these change.
pub(crate) fn set_wrong(milliseconds: Arc<AtomicI64>) {
    WRONG.with_borrow_mut(|wrong| wrong.push((Handle::current().id(), milliseconds)));
}

fn wrong_nanoseconds() -> i64 {
    let Ok(host) = Handle::try_current() else { return 0 };
    let id = host.id();
    let wrong = WRONG.try_with(|wrong| {
        let wrong = wrong.try_borrow().ok()?;
        wrong.iter().find(|(host, _)| *host == id).map(|(_, milliseconds)| milliseconds.load(Ordering::Relaxed) * 1_000_000)
    });
    wrong.ok().flatten().unwrap_or_default()
}

/// See clock_gettime(2).
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    let now = NOW.load(Ordering::Relaxed);
    if now == REAL {
        // SAFETY: the arguments are those of the call that this is.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as libc::c_int };
    }
    let calendar = matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE);
    let now = if calendar { now.saturating_add_signed(wrong_nanoseconds()) } else { now };
    // SAFETY: whoever calls it gives a place for a time.
    unsafe {
        (*time).tv_sec = (now / 1_000_000_000) as libc::time_t;
        (*time).tv_nsec = (now % 1_000_000_000) as libc::c_long;
    }
    0
}

/// See getrandom(2).
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: libc::c_uint) -> isize {
    let mut random = RANDOM.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match random.as_mut() {
        Some(random) if length > 0 => {
            // SAFETY: whoever calls it gives a buffer of this length.
            random.fill(unsafe { std::slice::from_raw_parts_mut(buffer, length) });
            length as isize
        }
        Some(_) => 0,
        // SAFETY: the arguments are those of the call that this is.
        None => unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize },
    }
}
