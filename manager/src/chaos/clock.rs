//! `CLOCK_MONOTONIC`, which all processes of a machine share.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since some point before every process that is running started.
#[must_use]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
