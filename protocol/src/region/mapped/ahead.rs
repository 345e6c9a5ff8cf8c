//! Memory that is there before a growing table asks for it (rule H4).
//!
//! A table grows at a few places at once, its entries and its index, each step right behind the last one. Such a stream
//! is recognised as a disk's read-ahead recognises one: once it has grown by four times a chunk, a thread of the owner
//! keeps chunks present ahead of it, up to a quarter of what it has grown, at most [`AHEAD_BYTES`]. So a small table
//! costs no thread, and no table more than a quarter too much; unless it may become so large that a chunk is nothing to
//! it ([`ROOM_TO_AHEAD`]): then the thread begins sooner, and fewer small pages are left behind. A writer that is faster
//! than the thread makes its own memory present, as if there were none, and the thread leaves a chunk alone that the
//! writer is about to reach.
//!
//! Such a writer goes step by step, which makes small pages, and its death is noticed 60 ms later for each GiB of them
//! (rule H11). It does not make huge ones itself: the kernel collapses a chunk only when every processor has drained its
//! list of new pages, 0.3 ms on an idle machine and 5 to 12 ms on a busy one, where the steps take 0.7 ms on either.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::pages::{CHUNK_BYTES, Pages};

/// The most that is kept ready ahead of one stream. 8 MiB is what a writer needs that never pauses.
const AHEAD_BYTES: u64 = 8 * 1024 * 1024;

/// Of what a stream has grown, one part in so many is kept ready ahead of it.
const GROWN_TO_AHEAD: u64 = 4;

/// And one part in so many of what the table may still grow: 4 MiB for a GiB. Less than 3 MiB come too late to be used.
const ROOM_TO_AHEAD: u64 = 256;

/// Nothing is kept ready for what has grown by less.
const LEAST_GROWN: u64 = CHUNK_BYTES / 4;

/// A chunk that begins so near ahead of the writer is left to it: it takes 64 bytes a write that far in 1.5 ms, and the
/// thread needs 0.5 for a chunk.
const LATE_BYTES: u64 = CHUNK_BYTES / 2;

/// Nobody has said by how much the table may grow.
const UNKNOWN: u64 = u64::MAX;

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
    /// By how much the table may grow; none where nobody has said so.
    room_bytes: AtomicU64,
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
    /// Higher for the one that grew last.
    used: u64,
}

impl Ahead {
    pub(super) fn new(pages: Arc<Pages>) -> Self {
        let (room_bytes, work, changed) = (AtomicU64::new(UNKNOWN), Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { pages, room_bytes, work, changed });
        Self { shared, thread: Mutex::default() }
    }

    /// The table has grown by these bytes.
    pub(super) fn grown_by(&self, bytes: &Range<u64>) {
        let mut work = lock(&self.shared.work);
        let chunks = follow(&mut work.streams, bytes, self.shared.room_bytes());
        let chunks = chunks.start..chunks.end.min(self.shared.pages.bytes() / CHUNK_BYTES);
        if !chunks.is_empty() && self.is_running() {
            work.chunks.extend(chunks);
            self.shared.changed.notify_one();
        }
    }

    /// From here on no more than this is made present ahead.
    pub(super) fn expect(&self, room_bytes: u64) {
        self.shared.room_bytes.store(room_bytes, Ordering::Relaxed);
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
    fn room_bytes(&self) -> u64 {
        self.room_bytes.load(Ordering::Relaxed)
    }

    fn run(&self) {
        let mut work = lock(&self.work);
        while !work.stop {
            let Some(chunk) = work.chunks.pop_front() else {
                work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            // Too late for that one: leave it to the writer, and be in time for the next. Or it will never be used.
            let too_late = work.streams.iter().any(|stream| stream.is_near(chunk));
            if too_late || self.room_bytes() == 0 {
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
fn follow(streams: &mut [Stream; STREAMS], bytes: &Range<u64>, room_bytes: u64) -> Range<u64> {
    let latest = streams.iter().map(|stream| stream.used).max().unwrap_or(0);
    let known = streams.iter().position(|stream| stream.is_continued_by(bytes));
    let place =
        known.or_else(|| (0..STREAMS).min_by_key(|place| streams[*place].used)).expect("there are streams");
    let stream = &mut streams[place];
    if known.is_none() {
        *stream = Stream { bytes: (bytes.start, bytes.start), ..Stream::default() };
    }
    stream.used = latest + 1;
    stream.grow_to(bytes.end, room_bytes)
}

impl Stream {
    fn is_continued_by(&self, bytes: &Range<u64>) -> bool {
        let (start, end) = self.bytes;
        self.used > 0 && bytes.start >= start && bytes.start <= end + NEAR_BYTES
    }

    /// Whether the writer may be in this chunk before it is one page, and would be made to wait for that.
    fn is_near(&self, chunk: u64) -> bool {
        let (start, end) = self.bytes;
        (start..end + LATE_BYTES).contains(&(chunk * CHUNK_BYTES))
    }

    /// How much is kept ready ahead of it, in a table that may grow by so much.
    fn ahead_bytes(&self, room_bytes: u64) -> u64 {
        let grown = self.bytes.1 - self.bytes.0;
        if grown < LEAST_GROWN {
            return 0;
        }
        let of_room = if room_bytes == UNKNOWN { 0 } else { room_bytes / ROOM_TO_AHEAD };
        (grown / GROWN_TO_AHEAD).max(of_room).min(AHEAD_BYTES).min(room_bytes)
    }

    /// The chunks to make present now that the stream has grown to `end`, if it has.
    fn grow_to(&mut self, end: u64, room_bytes: u64) -> Range<u64> {
        self.bytes.1 = self.bytes.1.max(end);
        let (end, ahead) = (self.bytes.1, self.ahead_bytes(room_bytes));
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
        (from..to)
            .step_by(STEP as usize)
            .flat_map(|start| follow(streams, &(start..start + STEP), UNKNOWN))
            .collect()
    }

    #[test]
    fn a_small_table_asks_for_nothing() {
        let mut streams = Default::default();
        assert_eq!(grow(&mut streams, 100 * MIB, 107 * MIB), []);
    }

    #[test]
    fn a_table_that_may_become_large_asks_sooner_but_not_at_once() {
        let asked = |room, grown| {
            let mut streams = Default::default();
            (0..grown)
                .step_by(STEP as usize)
                .flat_map(|start| follow(&mut streams, &(start..start + STEP), room))
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
            first.extend(follow(&mut streams, &(at..at + STEP), UNKNOWN));
            second.extend(follow(&mut streams, &(GIB + at / 8..GIB + at / 8 + STEP), UNKNOWN));
            // Something that grows here and there.
            let _ = follow(&mut streams, &(50 * GIB + at * 1000..50 * GIB + at * 1000 + STEP), UNKNOWN);
        }
        assert_eq!(first.last(), Some(&19), "8 MiB ahead of 32 MiB: {first:?}");
        assert_eq!(second, [], "4 MiB are too few");
    }

    const GIB: u64 = 1024 * MIB;
}
