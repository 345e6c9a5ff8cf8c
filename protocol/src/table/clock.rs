//! What time it is, for entries that expire.
//!
//! Deadlines are milliseconds of UNIX time: an entry outlives the process that wrote it, and the host too where the table
//! is on disk, so no clock that begins with either would do. Who sets the host's clock back makes entries live longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The clock that a handle compares deadlines with: the host's, unless a test sets one.
///
/// Clones of a clock that is set by hand show the same time.
///
/// ```
/// use heirloom_protocol::table::Clock;
///
/// let clock = Clock::manual(1_000);
/// let same = clock.clone();
/// clock.set(2_000);
/// assert_eq!(same.now_ms(), 2_000);
/// assert!(Clock::default().now_ms() > 1_600_000_000_000);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Clock(Shows);

#[derive(Debug, Clone, Default)]
enum Shows {
    #[default]
    HostsTime,
    Always(u64),
    WhatIsSet(Arc<AtomicU64>),
}

impl Clock {
    /// A clock that stands, at milliseconds of UNIX time, until it is [set](Self::set).
    #[must_use]
    pub fn manual(now_ms: u64) -> Self {
        Self(Shows::WhatIsSet(Arc::new(AtomicU64::new(now_ms))))
    }

    /// A clock that stands for good.
    pub(super) fn standing(now_ms: u64) -> Self {
        Self(Shows::Always(now_ms))
    }

    /// Sets a manual clock, and all its clones, to milliseconds of UNIX time. The host's clock is not touched.
    pub fn set(&self, now_ms: u64) {
        if let Shows::WhatIsSet(clock) = &self.0 {
            clock.store(now_ms, Ordering::Relaxed);
        }
    }

    /// The time, in milliseconds of UNIX time; 0 on a host that believes to be before 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Shows::WhatIsSet(clock) => clock.load(Ordering::Relaxed),
            Shows::Always(now_ms) => *now_ms,
            Shows::HostsTime => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
            }
        }
    }

    #[cold]
    pub(super) fn has_reached(&self, deadline_ms: u64) -> bool {
        deadline_ms <= self.now_ms()
    }
}
