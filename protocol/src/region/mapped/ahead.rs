//! Memory that is there before a growing table asks for it (rule H4).
//!
//! A table grows at a few places at once, its entries and its index, each step right behind the last one. Such a stream
//! is recognised as a disk's read-ahead recognises one: once it has grown by four times a chunk, a thread of the owner
//! keeps chunks present ahead of it, up to a quarter of what it has grown, at most [`AHEAD_BYTES`]. So a small table
//! costs no thread, and no table more than a quarter too much; unless it may become so large that a chunk is nothing to
//! it ([`LIMIT_TO_AHEAD`]): then the thread begins sooner, and fewer small pages are left behind. A writer that is faster
//! than the thread makes its own memory present, as if there were none, and the thread leaves a chunk alone that the
//! writer is about to reach.
//!
//! Such a writer goes step by step, which makes small pages, and its death is noticed 60 ms later for each GiB of them
//! (rule H11). One that takes a chunk in no more than [`RUSH`], as a bulk load with large values does, would be in steps
//! for a quarter of its time: it makes each fresh chunk present at once, as a huge page, which takes as long as its steps.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::pages::{CHUNK_BYTES, Pages};

/// The most that is kept ready ahead of one stream. 8 MiB is what a writer needs that never pauses.
const AHEAD_BYTES: u64 = 8 * 1024 * 1024;

/// Of what a stream has grown, one part in so many is kept ready ahead of it.
const GROWN_TO_AHEAD: u64 = 4;

/// And one part in so many of what the table may become, however little it has grown: 2 MiB for 512.
const LIMIT_TO_AHEAD: u64 = 256;

/// Nothing is kept ready for what has grown by less.
const LEAST_GROWN: u64 = CHUNK_BYTES / 4;

/// A chunk that begins so near ahead of the writer is left to it: it takes 64 bytes a write that far in 1.5 ms, and the
/// thread needs 0.5 for a chunk.
const LATE_BYTES: u64 = CHUNK_BYTES / 2;

/// A writer that takes a chunk in no more than this is in a rush. Values of 64 bytes take three times as long.
const RUSH: Duration = Duration::from_millis(2);

/// A step that begins so near behind a stream's end continues it.
const NEAR_BYTES: u64 = CHUNK_BYTES;

/// As many places can grow at once.
const STREAMS: usize = 4;

/// Keeps memory present ahead of where a table grows.
#[derive(Debug)]
pub(super) struct Ahead {
    shared: Arc<Shared>,
    thread: Mutex<Thread>,
}

#[derive(Debug, Default)]
enum Thread {
    #[default]
    NotNeeded,
    Running(JoinHandle<()>),
    /// The system has no thread for us; the table goes on without.
    Refused,
}

/// What the thread shares with the owner.
#[derive(Debug)]
struct Shared {
    pages: Arc<Pages>,
    /// The most that the table may take, in bytes.
    limit_bytes: AtomicU64,
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    streams: [Stream; STREAMS],
    chunks: VecDeque<u64>,
    stop: bool,
}

/// A place where the table grows.
#[derive(Debug, Default, Clone, Copy)]
struct Stream {
    /// Where it began, and where it is now, in bytes of the region.
    bytes: (u64, u64),
    /// The chunk up to which memory was asked for ahead.
    asked_to_chunk: u64,
    /// When it came to the chunk where it is now.
    came: Option<Instant>,
    /// Whether it was in a rush in the chunk before.
    in_a_rush: bool,
    /// Higher for the one that grew last.
    used: u64,
}

impl Ahead {
    pub(super) fn new(pages: Arc<Pages>) -> Self {
        let (limit_bytes, work, changed) = (AtomicU64::new(u64::MAX), Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { pages, limit_bytes, work, changed });
        Self { shared, thread: Mutex::default() }
    }

    /// The chunk that begins within these bytes, where a writer in a rush comes to it first.
    pub(super) fn rushed_into(&self, bytes: &Range<u64>) -> Option<u64> {
        let limit = self.limit_bytes();
        let rushes = |stream: &Stream| stream.rushes_into(bytes, limit);
        let has_room = || self.shared.pages.memory_bytes() + CHUNK_BYTES <= limit;
        let chunk = bytes.end.div_ceil(CHUNK_BYTES) - 1;
        let is_whole = (chunk + 1) * CHUNK_BYTES <= self.shared.pages.bytes();
        (is_whole && lock(&self.shared.work).streams.iter().any(rushes) && has_room()).then_some(chunk)
    }

    /// The table has grown by these bytes.
    pub(super) fn grown_by(&self, bytes: &Range<u64>) {
        let mut work = lock(&self.shared.work);
        let chunks = follow(&mut work.streams, bytes, self.limit_bytes(), Instant::now);
        let chunks = chunks.start..chunks.end.min(self.shared.pages.bytes() / CHUNK_BYTES);
        if !chunks.is_empty() && self.is_running() {
            work.chunks.extend(chunks);
            self.shared.changed.notify_one();
        }
    }

    /// Nothing is made present ahead from here on that would take the table beyond this.
    pub(super) fn stay_below(&self, limit_bytes: u64) {
        self.shared.limit_bytes.store(limit_bytes, Ordering::Relaxed);
    }

    fn limit_bytes(&self) -> u64 {
        self.shared.limit_bytes.load(Ordering::Relaxed)
    }

    /// Ends the thread, before the mapping ends; at most one chunk later.
    pub(super) fn stop(&mut self) {
        lock(&self.shared.work).stop = true;
        self.shared.changed.notify_one();
        if let Thread::Running(thread) =
            std::mem::take(self.thread.get_mut().unwrap_or_else(PoisonError::into_inner))
        {
            // It ends by a panic only where there is a mistake in this file, which it has told already.
            let _ = thread.join();
        }
    }

    /// Forgets the thread, which is not there in a forked child.
    pub(super) fn abandon(&mut self) {
        std::mem::forget(std::mem::take(self.thread.get_mut().unwrap_or_else(PoisonError::into_inner)));
    }

    fn is_running(&self) -> bool {
        let mut thread = lock(&self.thread);
        if matches!(*thread, Thread::NotNeeded) {
            let shared = Arc::clone(&self.shared);
            let started = Builder::new().name("heirloom-memory".to_owned()).spawn(move || shared.run());
            *thread = started.map_or(Thread::Refused, Thread::Running);
        }
        matches!(*thread, Thread::Running(_))
    }
}

impl Shared {
    fn run(&self) {
        let mut work = lock(&self.work);
        while !work.stop {
            let Some(chunk) = work.chunks.pop_front() else {
                work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            // Too late for that one: leave it to the writer, and be in time for the next. Or it might never be used.
            let too_late = work.streams.iter().any(|stream| stream.is_near(chunk));
            let too_much = self.pages.memory_bytes() + CHUNK_BYTES > self.limit_bytes.load(Ordering::Relaxed);
            if too_late || too_much {
                continue;
            }
            drop(work);
            let made = self.pages.make_chunk_present(chunk);
            work = lock(&self.work);
            if made.is_err() {
                // Whoever needs the memory will ask for it, and be told.
                work.chunks.clear();
            }
        }
    }
}

/// Notes where the table has grown, and says which chunks to make present now.
fn follow(
    streams: &mut [Stream; STREAMS],
    bytes: &Range<u64>,
    limit_bytes: u64,
    now: impl FnOnce() -> Instant,
) -> Range<u64> {
    let latest = streams.iter().map(|stream| stream.used).max().unwrap_or(0);
    let known = streams.iter().position(|stream| stream.is_continued_by(bytes));
    let place =
        known.or_else(|| (0..STREAMS).min_by_key(|place| streams[*place].used)).expect("there are streams");
    let stream = &mut streams[place];
    if known.is_none() {
        *stream = Stream { bytes: (bytes.start, bytes.start), ..Stream::default() };
    }
    stream.used = latest + 1;
    stream.clock(bytes.end, now);
    stream.grow_to(bytes.end, limit_bytes)
}

impl Stream {
    fn is_continued_by(&self, bytes: &Range<u64>) -> bool {
        let (start, end) = self.bytes;
        self.used > 0 && bytes.start >= start && bytes.start <= end + NEAR_BYTES
    }

    /// Notes how long it took for a chunk, where it comes to another one.
    fn clock(&mut self, end: u64, now: impl FnOnce() -> Instant) {
        if end.div_ceil(CHUNK_BYTES) > self.bytes.1.div_ceil(CHUNK_BYTES) {
            let now = now();
            let came = self.came.replace(now);
            self.in_a_rush = came.is_some_and(|came| now.duration_since(came) <= RUSH);
        }
    }

    /// Whether it is in a rush, and comes with these bytes to the beginning of a chunk.
    fn rushes_into(&self, bytes: &Range<u64>, limit_bytes: u64) -> bool {
        let (_, end) = self.bytes;
        self.in_a_rush
            && self.ahead_bytes(limit_bytes) >= CHUNK_BYTES
            && self.is_continued_by(bytes)
            && bytes.end.div_ceil(CHUNK_BYTES) > end.div_ceil(CHUNK_BYTES)
    }

    /// Whether the writer may be in this chunk before it is one page, and would be made to wait for that.
    fn is_near(&self, chunk: u64) -> bool {
        let (start, end) = self.bytes;
        (start..end + LATE_BYTES).contains(&(chunk * CHUNK_BYTES))
    }

    /// How much is kept ready ahead of it, in a table of at most so many bytes; where that is not known, it is small.
    fn ahead_bytes(&self, limit_bytes: u64) -> u64 {
        let grown = self.bytes.1 - self.bytes.0;
        if grown < LEAST_GROWN {
            return 0;
        }
        let limit_bytes = if limit_bytes == u64::MAX { 0 } else { limit_bytes };
        (grown / GROWN_TO_AHEAD).max(limit_bytes / LIMIT_TO_AHEAD).min(AHEAD_BYTES)
    }

    /// The chunks to make present now that the stream has grown to `end`, if it has.
    fn grow_to(&mut self, end: u64, limit_bytes: u64) -> Range<u64> {
        self.bytes.1 = self.bytes.1.max(end);
        let (end, ahead) = (self.bytes.1, self.ahead_bytes(limit_bytes));
        // Only chunks that lie wholly ahead: the one that is being written must not be collapsed.
        let first = end.div_ceil(CHUNK_BYTES).max(self.asked_to_chunk);
        let last = (end + ahead) / CHUNK_BYTES;
        self.asked_to_chunk = self.asked_to_chunk.max(last);
        first..last
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is right between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const STEP: u64 = 16 * 1024;

    fn grow(streams: &mut [Stream; STREAMS], from: u64, to: u64) -> Vec<u64> {
        let now = Instant::now();
        (from..to)
            .step_by(STEP as usize)
            .flat_map(|start| follow(streams, &(start..start + STEP), u64::MAX, || now))
            .collect()
    }

    #[test]
    fn a_small_table_asks_for_nothing() {
        let mut streams = Default::default();
        assert_eq!(grow(&mut streams, 100 * MIB, 107 * MIB), []);
    }

    #[test]
    fn a_table_that_may_become_large_asks_sooner_but_not_at_once() {
        let asked = |limit, grown| {
            let mut streams = Default::default();
            (0..grown)
                .step_by(STEP as usize)
                .flat_map(|start| follow(&mut streams, &(start..start + STEP), limit, Instant::now))
                .collect::<Vec<_>>()
        };
        assert_eq!(asked(511 * MIB, 7 * MIB), []);
        assert_eq!(asked(GIB, MIB / 2 - STEP), [], "a few entries are a small table whatever its limit");
        assert_eq!(asked(GIB, MIB / 2), [1], "the chunk that it is in is left alone");
        assert_eq!(asked(GIB, 3 * MIB), [1, 2], "up to 4 MiB ahead");
        assert_eq!(asked(u64::MAX - 1, MIB), [1, 2, 3], "never more than 8 MiB");
    }

    #[test]
    fn a_stream_asks_for_each_chunk_once_and_stays_ahead() {
        let mut streams = Default::default();
        let chunks = grow(&mut streams, 0, 64 * MIB);
        assert!(chunks.is_sorted_by(|one, next| one + 1 == *next), "{chunks:?}");
        assert_eq!(chunks.last(), Some(&35), "8 MiB ahead of 64 MiB");
        assert!(*chunks.first().expect("some") >= 4, "never one that is being written: {chunks:?}");
    }

    #[test]
    fn streams_do_not_disturb_each_other() {
        let mut streams = Default::default();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for at in (0..32 * MIB).step_by(STEP as usize) {
            first.extend(follow(&mut streams, &(at..at + STEP), u64::MAX, Instant::now));
            second.extend(follow(&mut streams, &(GIB + at / 8..GIB + at / 8 + STEP), u64::MAX, Instant::now));
            // Something that grows here and there.
            let _ = follow(
                &mut streams,
                &(50 * GIB + at * 1000..50 * GIB + at * 1000 + STEP),
                u64::MAX,
                Instant::now,
            );
        }
        assert_eq!(first.last(), Some(&19), "8 MiB ahead of 32 MiB: {first:?}");
        assert_eq!(second, [], "4 MiB are too few");
    }

    const GIB: u64 = 1024 * MIB;

    #[test]
    fn only_a_large_stream_that_takes_a_chunk_in_no_time_is_in_a_rush() {
        let begin = Instant::now();
        for (took, rushes) in [(RUSH, true), (RUSH + Duration::from_micros(1), false)] {
            let mut streams: [Stream; STREAMS] = Default::default();
            let mut came_rushing = Vec::new();
            for at in (0..16 * MIB).step_by(STEP as usize) {
                let bytes = at..at + STEP;
                if streams.iter().any(|stream| stream.rushes_into(&bytes, u64::MAX)) {
                    came_rushing.push(at);
                }
                let chunk = (at / CHUNK_BYTES) as u32;
                follow(&mut streams, &bytes, u64::MAX, || begin + chunk * took);
            }
            let expected: Vec<u64> = (8 * MIB..16 * MIB).step_by(CHUNK_BYTES as usize).collect();
            assert_eq!(came_rushing, if rushes { expected } else { vec![] });
        }
    }
}
