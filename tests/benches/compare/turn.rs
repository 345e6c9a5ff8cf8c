//! One turn of one subject: a fresh one is filled, read, overwritten, scanned and emptied.
//!
//! Each turn is a process of its own. So no subject meets a heap that another has left, and what memory it takes can be
//! seen from outside. What is read is compared with what was written, outside the clock.

use crate::figures::{Column, Figures};
use crate::work::{Clock, Step, Work, Writes};

/// With few entries, gets and overwrites are done so often that there are this many at least.
const LEAST_OPERATIONS: usize = 500_000;

/// Something that keeps values under keys.
pub(crate) trait Subject: Sized {
    /// How many operations a figure is taken over at most.
    const OPERATIONS: usize = usize::MAX;
    /// Whether it can add to a counter in one operation.
    const COUNTS: bool = false;

    /// What its operations are measured by.
    const CLOCK: Clock = Clock::Processor;

    /// An empty one; it may know how many entries will come, but grows from small all the same.
    fn new(entries: usize) -> Self;

    /// Inserts or overwrites.
    fn write(&mut self, writes: Writes<'_>);

    /// Inserts as fast as it goes, outside the clock.
    fn fill(&mut self, writes: Writes<'_>) {
        self.write(writes);
    }

    /// Copies each value out; what their words add up to.
    fn read(&mut self, keys: &[u64]) -> u64;

    fn remove(&mut self, keys: &[u64]);

    /// Removes as fast as it goes, outside the clock.
    fn clear(&mut self, keys: &[u64]) {
        self.remove(keys);
    }

    /// Adds 1 to the counter under each key, where it [counts](Self::COUNTS).
    fn count(&mut self, _keys: &[u64]) {}

    /// Reads all values; what their words add up to. None where it has no such thing.
    fn scan(&mut self) -> Option<u64>;

    /// The memory that it uses, where it knows better than what its process has grown by.
    fn bytes(&mut self, grown: u64) -> u64 {
        grown
    }
}

/// One turn, from empty to empty.
pub(crate) fn turn<S: Subject>(work: &Work) -> Figures {
    let mut figures = Figures::default();
    let measured = work.len().min(S::OPERATIONS);
    let order = work.order(Step::Insert, 0);
    let (first, rest) = order.split_at(measured);

    let before = resident_bytes();
    let mut subject = S::new(work.len());
    let (insert, ()) = S::CLOCK.time(measured, || subject.write(work.writes(first, Step::Insert)));
    figures.note(Column::Insert, insert);
    subject.fill(work.writes(rest, Step::Insert));
    let bytes = subject.bytes(resident_bytes().saturating_sub(before));
    figures.note(Column::Bytes, per_entry(bytes, work));

    figures.note(
        Column::Get,
        repeated::<S>(work, Step::Get, measured, |keys| {
            let (figure, sum) = S::CLOCK.time(keys.len(), || subject.read(keys));
            assert_eq!(sum, work.writes(keys, Step::Insert).sum(), "what is read is what was written");
            figure
        }),
    );
    figures.note(
        Column::Overwrite,
        repeated::<S>(work, Step::Overwrite, measured, |keys| {
            S::CLOCK.time(keys.len(), || subject.write(work.writes(keys, Step::Overwrite))).0
        }),
    );
    subject.fill(work.writes(&order, Step::Overwrite));
    let (scan, sum) = S::CLOCK.time(work.len(), || subject.scan());
    if let Some(sum) = sum {
        figures.note(Column::Scan, scan);
        assert_eq!(sum, work.writes(&order, Step::Overwrite).sum(), "a scan sees each entry once");
    }
    let order = work.order(Step::Remove, 0);
    figures.note(Column::Remove, S::CLOCK.time(measured, || subject.remove(&order[..measured])).0);
    subject.clear(&order[measured..]);
    assert_eq!(subject.scan().unwrap_or(0), 0, "nothing is left");
    drop(subject);

    if S::COUNTS {
        figures.note(Column::Count, counters::<S>(work, measured));
    }
    figures
}

/// Counters under all keys, which are there.
fn counters<S: Subject>(work: &Work, measured: usize) -> f64 {
    let mut subject = S::new(work.len());
    let order = work.order(Step::Insert, 0);
    subject.count(&order[..measured]);
    let order = work.order(Step::Count, 0);
    S::CLOCK.time(measured, || subject.count(&order[..measured])).0
}

/// The mean over as many orders of the keys as make enough operations, each of which `measure` is given.
#[allow(clippy::cast_precision_loss)]
fn repeated<S: Subject>(
    work: &Work,
    step: Step,
    measured: usize,
    mut measure: impl FnMut(&[u64]) -> f64,
) -> f64 {
    let rounds = rounds(work, measured, LEAST_OPERATIONS.min(S::OPERATIONS));
    let total: f64 = (0..rounds).map(|round| measure(&work.order(step, round)[..measured])).sum();
    total / rounds as f64
}

/// A handful of entries is a test of all this, and not a measurement.
fn rounds(work: &Work, measured: usize, least: usize) -> usize {
    let is_whole = measured == work.len() && measured >= 1000;
    if is_whole { least.div_ceil(measured) } else { 1 }
}

#[allow(clippy::cast_precision_loss)]
pub(crate) fn per_entry(bytes: u64, work: &Work) -> f64 {
    bytes as f64 / work.len() as f64
}

/// How much of this process's memory is resident.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("its second word is a number") * rustix::param::page_size() as u64
}
