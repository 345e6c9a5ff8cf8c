//! The one clock of all stage times: `CLOCK_MONOTONIC`, which all processes of a machine share.

use rustix::time::{ClockId, clock_gettime};

/// Now, in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// From one moment to a later one, in microseconds; 0 where the later one has not come.
pub(crate) fn since_us(from_ns: u64, to_ns: u64) -> u64 {
    to_ns.saturating_sub(from_ns) / 1000
}
