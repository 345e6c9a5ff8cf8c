//! Whether an owner under a lease shows signs of life (rule H16): its commits and its `renew`, two words in the table.
//!
//! Time is counted in the manager's own ticks, eight to a lease, and a tick that comes late counts once: a manager that was
//! itself stopped, or a machine that was, finds nobody silent for the time in which nobody could have been heard. So an
//! owner is silent for the lease at least before it is killed, and for nine eighths of it at most, while all run.

use heirloom_protocol::ownership::{Input, Timer};
use heirloom_protocol::table::Life;
use std::time::{Duration, Instant};

/// Ticks of a lease.
const TICKS: u32 = 8;

/// The lease of a table, and how its owner keeps it.
#[derive(Debug)]
pub(super) struct Lease {
    length: Duration,
    watch: Option<Watch>,
}

#[derive(Debug)]
struct Watch {
    epoch: u64,
    /// What the owner had shown at the last tick.
    shown: Life,
    /// Ticks in a row without a sign.
    silent: u32,
    next_tick: Instant,
}

impl Lease {
    pub(super) fn new(length: Duration) -> Self {
        Self { length, watch: None }
    }

    /// How long an owner may be silent.
    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// From now on the owner of that epoch is watched.
    pub(super) fn begin(&mut self, epoch: u64, shown: Life, now: Instant) {
        self.watch = Some(Watch { epoch, shown, silent: 0, next_tick: now + self.length / TICKS });
    }

    /// Nobody owns the table any more.
    pub(super) fn end(&mut self) {
        self.watch = None;
    }

    /// When its owner is looked at next.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        self.watch.as_ref().map(|watch| watch.next_tick)
    }

    /// Whether the next tick is due, and may be the one too many.
    pub(super) fn is_running_out(&self, now: Instant) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.next_tick <= now && watch.silent + 1 == TICKS)
    }

    /// Looks at the owner where a tick is due: what the ownership is to be told, once when the lease is over, and once when
    /// the owner shows life after that.
    pub(super) fn tick(&mut self, shown: Life, now: Instant) -> Option<Input> {
        let watch = self.watch.as_mut().filter(|watch| watch.next_tick <= now)?;
        watch.next_tick = now + self.length / TICKS;
        let epoch = watch.epoch;
        if watch.shown != shown {
            let was_over = watch.silent >= TICKS;
            (watch.shown, watch.silent) = (shown, 0);
            return was_over.then_some(Input::ShowsLife { epoch });
        }
        watch.silent = watch.silent.saturating_add(1);
        (watch.silent == TICKS).then_some(Input::Elapsed { timer: Timer::Lease, epoch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heirloom_protocol::region::HeapRegion;
    use heirloom_protocol::table::{self, TableOptions, TableWriter};
    use std::sync::Arc;

    const LENGTH: Duration = Duration::from_millis(800);
    const TICK: Duration = Duration::from_millis(100);
    const OVER: Option<Input> = Some(Input::Elapsed { timer: Timer::Lease, epoch: 0 });

    /// A lease, its owner, and a clock that goes as the test says.
    struct Scene {
        lease: Lease,
        region: Arc<HeapRegion>,
        owner: TableWriter<Arc<HeapRegion>>,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let options = TableOptions::set(1 << 20);
            let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
            table::create(&region, &options).unwrap();
            let owner = TableWriter::open(Arc::clone(&region), 0).unwrap();
            let (mut lease, now) = (Lease::new(LENGTH), Instant::now());
            lease.begin(0, table::life(&region), now);
            Self { lease, region, owner, now }
        }

        /// So much time passes; the manager looks once, at its end.
        fn passes(&mut self, time: Duration) -> Option<Input> {
            self.now += time;
            self.lease.tick(table::life(&self.region), self.now)
        }

        fn ticks(&mut self, ticks: u32) -> Vec<Input> {
            (0..ticks).filter_map(|_| self.passes(TICK)).collect()
        }
    }

    #[test]
    fn who_shows_nothing_for_eight_ticks_is_silent_and_that_is_said_once() {
        let mut scene = Scene::new();
        assert_eq!(scene.ticks(7), []);
        assert!(scene.lease.is_running_out(scene.now + TICK) && !scene.lease.is_running_out(scene.now));
        assert_eq!(scene.passes(TICK / 2), None, "no tick is due");
        assert_eq!(scene.passes(TICK / 2), OVER);
        assert_eq!(scene.ticks(20), []);
        scene.lease.end();
        assert_eq!((scene.lease.next_tick(), scene.ticks(20)), (None, vec![]));
    }

    #[test]
    fn a_commit_is_a_sign_of_life() {
        let mut scene = Scene::new();
        for key in 0..5_u8 {
            assert_eq!(scene.ticks(7), []);
            scene.owner.insert(&[key], b"").unwrap();
        }
        // Noticed at the next tick, and a whole lease from there.
        assert_eq!(scene.ticks(8), []);
        assert_eq!(scene.passes(TICK), OVER);
    }

    #[test]
    fn a_renewal_is_a_sign_of_life() {
        let mut scene = Scene::new();
        for _ in 0..5 {
            assert_eq!(scene.ticks(7), []);
            scene.owner.renew().unwrap();
        }
        assert_eq!(scene.ticks(8), []);
        assert_eq!(scene.passes(TICK), OVER);
    }

    #[test]
    fn a_late_tick_counts_once() {
        let mut scene = Scene::new();
        assert_eq!(scene.passes(100 * LENGTH), None, "the manager was stopped, and maybe the owner too");
        assert_eq!(scene.ticks(6), []);
        assert_eq!(scene.passes(TICK), OVER);
    }

    #[test]
    fn a_sign_after_the_lease_was_over_is_said_once() {
        let mut scene = Scene::new();
        assert_eq!(scene.ticks(8).len(), 1);
        scene.owner.renew().unwrap();
        assert_eq!(scene.passes(TICK), Some(Input::ShowsLife { epoch: 0 }));
        scene.owner.renew().unwrap();
        assert_eq!(scene.passes(TICK), None);
        assert_eq!(scene.ticks(7), []);
        assert_eq!(scene.passes(TICK), OVER);
    }
}
