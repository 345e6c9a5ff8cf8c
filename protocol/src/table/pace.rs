//! How fast memory is given back.
//!
//! Nobody waits for it, and a pass over a large table is seconds of work: in step with the writes, each of them would
//! take ten times as long until the pass has ended (measured: 75,000 commits a second after a snapshot of a million ordered
//! entries, and 1,300,000 with what follows). So a pass has a share of the owner's time:
//!
//! ```text
//!  writes  ──────────────┤slice├──────────────────────────────────────────────┤slice├─────────
//!                          20 µs at most (R15)     nine times as long as it took
//! ```
//!
//! An owner that writes seldom gives each write's slice at once. One that writes at full speed looks at the clock at a
//! part of its writes only.
//!
//! And a pass begins only when memory has been free for a while (what pins hold is not): what a snapshot or a batch needed
//! now is likely to be needed again soon (the decay of jemalloc's `dirty_decay_ms`, with a shorter time).
//!
//! **The bound.** A table must not grow for want of patience. So what a class takes from the host while other memory is
//! free is owed: so many steps as it takes to gather as much of what is free, two with each write, and without a wait. So the
//! bounds in [`super::compact`] hold at any pace.
//!
//! A region without a clock has no pace: there each write takes its steps, and every run of the same operations is the same.

use std::time::Duration;

/// What a write pays for at most, but for the step that passes it, where nothing is owed.
const SLICE: Duration = Duration::from_micros(20);
/// A pass has one part in so many of the owner's time.
const SHARE: u32 = 10;
/// A slice that took longer was stopped meanwhile, which is nothing to rest from.
const LONGEST_COUNTED: Duration = Duration::from_millis(5);
/// So long memory is free before a pass begins.
const SETTLES_IN: Duration = Duration::from_secs(1);
/// Steps that are owed for memory of the host that would hold one block, as blocks are on average. With this, ten
/// million updates that change their size keep within 1.26 of the live data; half as many make it 1.29 and more.
const STEPS_PER_BLOCK: u64 = 8;
/// So many looks at the clock are left out at most.
const MOST_SKIPPED: u32 = 63;

/// Where an owner is in all that: a hint, of which an heir needs nothing. All times are those of the region's clock.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Since when there has been work for a pass.
    wanted_since: Option<Duration>,
    /// When the next slice is due.
    due: Duration,
    /// So many looks at the clock are left out between two ...
    skips: u32,
    /// ... and these are left of them.
    left: u32,
    /// Steps that do not wait.
    owed: u64,
}

impl Pace {
    /// There is no work for a pass, or one is over: what was owed was for that.
    pub(super) fn has_no_work(&mut self) {
        (self.wanted_since, self.owed) = (None, 0);
    }

    /// Whether a pass for which there is work may begin.
    pub(super) fn may_begin(&mut self, now: Option<Duration>) -> bool {
        let Some(now) = now else { return true };
        let since = *self.wanted_since.get_or_insert(now);
        self.owed > 0 || now.saturating_sub(since) >= SETTLES_IN
    }

    /// The table took memory for so many blocks from the host, where it might have done with what it has.
    /// No more is owed than it takes to go through all the blocks there are.
    pub(super) fn owe(&mut self, blocks: u64, all: u64) {
        let owed = self.owed.saturating_add(STEPS_PER_BLOCK.saturating_mul(blocks));
        self.owed = owed.min(STEPS_PER_BLOCK.saturating_mul(all));
    }

    /// Whether one step is owed, which this pays.
    pub(super) fn pay(&mut self) -> bool {
        self.owed.checked_sub(1).is_some_and(|owed| {
            self.owed = owed;
            true
        })
    }

    /// When a slice begins: now, where it is due. Without a clock, one always is.
    pub(super) fn begin_slice(&mut self, clock: impl FnOnce() -> Option<Duration>) -> Option<Duration> {
        if self.left > 0 {
            self.left -= 1;
            return None;
        }
        let Some(now) = clock() else { return Some(Duration::ZERO) };
        if now < self.due {
            self.skips = (2 * self.skips + 1).min(MOST_SKIPPED);
            self.left = self.skips;
            return None;
        }
        self.skips /= 2;
        Some(now)
    }

    /// Whether the slice that began then is over with this step. Without a clock, one step is a slice.
    pub(super) fn end_step(&mut self, begin: Duration, now: Option<Duration>) -> bool {
        let Some(now) = now else { return true };
        let took = now.saturating_sub(begin);
        self.due = now + (SHARE - 1) * took.min(LONGEST_COUNTED);
        took >= SLICE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_micros(3);

    /// An owner whose writes take so long, for so many of them: the time that steps took, the longest slice, and the
    /// time in all.
    fn steps_beside(write: Duration, writes: u32) -> (Duration, Duration, Duration) {
        let start = Duration::from_secs(5);
        let (mut pace, mut now) = (Pace::default(), start);
        let (mut spent, mut longest) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..writes {
            now += write;
            let Some(begin) = pace.begin_slice(|| Some(now)) else { continue };
            loop {
                now += STEP;
                if pace.end_step(begin, Some(now)) {
                    break;
                }
            }
            spent += now - begin;
            longest = longest.max(now - begin);
        }
        (spent, longest, now - start)
    }

    #[test]
    fn a_pass_has_its_share_of_the_time_and_no_write_waits_long() {
        for nanos in [100, 1_000, 10_000, 100_000] {
            let (spent, longest, all) = steps_beside(Duration::from_nanos(nanos), 200_000);
            let share = spent.as_secs_f64() / all.as_secs_f64();
            assert!((0.05..=0.11).contains(&share), "{share} of the time with writes of {nanos} ns");
            assert!(longest < SLICE + STEP, "{longest:?}");
        }
    }

    #[test]
    fn an_owner_that_writes_seldom_takes_a_slice_with_each_write() {
        let (spent, _, _) = steps_beside(Duration::from_millis(10), 1000);
        assert!(spent >= SLICE * 990, "{spent:?}");
    }

    #[test]
    fn what_is_free_for_a_moment_is_kept_unless_the_table_grows() {
        let mut pace = Pace::default();
        let at = |millis| Some(Duration::from_millis(millis));
        assert!(pace.may_begin(None), "where there is no clock");
        assert!(!pace.may_begin(at(5000)) && !pace.may_begin(at(5999)));
        pace.has_no_work();
        assert!(!pace.may_begin(at(6000)) && !pace.may_begin(at(6999)));
        assert!(pace.may_begin(at(7000)));
        pace.has_no_work();
        assert!(!pace.may_begin(at(8000)));
        pace.owe(3, 10);
        assert!(pace.may_begin(at(8000)));
        assert_eq!((0..100).filter(|_| pace.pay()).count(), 24);
    }
}
