//! Which parts of a mapping are backed by memory, and how they come to be (rules H4 and H5).
//!
//! What this process has made present is remembered here, one bit for each step of 64 KiB: a step costs about 15 µs,
//! and is the most that a write ever waits for. A fresh chunk of 2 MiB, one without any page, becomes one huge page,
//! where the kernel has one: its owner's death is noticed a hundred times faster then (rule H11).
//!
//! A chunk is fresh that this process has not touched, and that has no page from an owner before it: it lies behind all
//! pages that there were when it was mapped, or the kernel says so. Two threads make memory present, the owner's and the
//! one that works ahead of it. Who makes a chunk claims it first, under a lock that nobody holds for longer than that: so
//! no page is used before it was asked for, and a chunk whose first step the other has made is not collapsed.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::mm::Advice;

use crate::region::OutOfMemory;
use crate::sys::limits;

/// What is made present at once where a write waits for it.
pub(super) const STEP_BYTES: u64 = 64 * 1024;

/// A huge page; the unit of what is made present ahead.
pub(super) const CHUNK_BYTES: u64 = 2 * 1024 * 1024;

const STEPS_PER_CHUNK: u64 = CHUNK_BYTES / STEP_BYTES;

/// The pages of one mapping.
#[derive(Debug)]
pub(super) struct Pages {
    base: *mut u8,
    bytes: u64,
    /// One bit for each step: whether this process has made it present.
    present: Bits,
    chunks: Mutex<Chunks>,
    /// Where the segment's pages ended when it was mapped.
    data_ended: u64,
    /// Whether the kernel tells which pages the segment has: it tells who may write the file, and others "all".
    is_told: bool,
}

/// What is known of the chunks.
#[derive(Debug)]
struct Chunks {
    /// One bit for each: whether this process has made any of it present, or is about to.
    touched: Bits,
    /// Those that are being made, and paid for as a whole: by the owner, and by the thread that works ahead.
    claimed: Vec<u64>,
}

// SAFETY: the pointer is only handed to `madvise`, and used for atomic operations on words.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// # Safety
    /// The mapping is that long, and stays while any method runs.
    pub(super) unsafe fn new(base: *mut u8, bytes: usize, data_ended: u64, is_ours: bool) -> Self {
        let bytes = bytes as u64;
        let chunks = Chunks { touched: Bits::new(bytes.div_ceil(CHUNK_BYTES)), claimed: Vec::new() };
        let present = Bits::new(bytes.div_ceil(STEP_BYTES));
        let mut pages = Self { base, bytes, present, chunks: Mutex::new(chunks), data_ended, is_told: true };
        pages.is_told = if data_ended < bytes {
            // There is none.
            pages.missing_bytes(&(data_ended..data_ended + 1)).is_some_and(|missing| missing > 0)
        } else {
            is_ours
        };
        pages
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether this process has made all of these bytes present.
    #[inline]
    pub(super) fn are_present(&self, bytes: &Range<u64>) -> bool {
        steps_of(bytes).all(|step| self.present.has(step))
    }

    /// Makes all of these bytes present: whole chunks as huge pages, the rest step by step.
    pub(super) fn make_present(&self, bytes: &Range<u64>) -> Result<(), OutOfMemory> {
        let steps = steps_of(bytes);
        let mut step = steps.start;
        while step < steps.end {
            let chunk_is_asked_for =
                step.is_multiple_of(STEPS_PER_CHUNK) && step + STEPS_PER_CHUNK <= steps.end;
            if chunk_is_asked_for && self.make_chunk_present(step / STEPS_PER_CHUNK)? {
                step += STEPS_PER_CHUNK;
                continue;
            }
            self.make_step_present(step)?;
            step += 1;
        }
        Ok(())
    }

    fn make_step_present(&self, step: u64) -> Result<(), OutOfMemory> {
        if self.present.has(step) {
            return Ok(());
        }
        let (chunk, bytes) = (step / STEPS_PER_CHUNK, step * STEP_BYTES..(step + 1) * STEP_BYTES);
        let is_paid = {
            let chunks = self.chunks();
            chunks.touched.set(chunk);
            chunks.claimed.contains(&chunk)
        };
        // Pages from an owner before this one are no new memory: an heir gets them however little is left.
        let missing = if is_paid { 0 } else { self.missing_bytes(&bytes).unwrap_or(STEP_BYTES) };
        if missing > 0 {
            limits::ask_for(missing)?;
        }
        self.populate(bytes)?;
        self.present.set(step);
        Ok(())
    }

    /// Makes a fresh chunk present, as one huge page where it can be; false where it is not fresh, and nothing is done.
    ///
    /// Collapsing is for fresh chunks only: a writer in the middle of one would be stopped for milliseconds. And it
    /// comes before populating: a chunk with a single page becomes a huge one in a fifth of the time of a full one,
    /// whose pages would have to be copied (0.5 against 2.6 ms; without any page there is nothing to collapse).
    pub(super) fn make_chunk_present(&self, chunk: u64) -> Result<bool, OutOfMemory> {
        let bytes = chunk * CHUNK_BYTES..(chunk + 1) * CHUNK_BYTES;
        if self.chunks().touched.set(chunk) || !self.had_no_page(&bytes) {
            return Ok(false);
        }
        limits::ask_for(CHUNK_BYTES)?;
        self.chunks().claimed.push(chunk);
        let made = self.make_claimed(chunk, &bytes);
        let mut chunks = self.chunks();
        // Unless some of it was given back meanwhile.
        if let Some(place) = chunks.claimed.iter().position(|claimed| *claimed == chunk) {
            chunks.claimed.swap_remove(place);
            if made.is_ok() {
                steps_of(&bytes).for_each(|step| _ = self.present.set(step));
            }
        }
        made.map(|()| true)
    }

    fn make_claimed(&self, chunk: u64, bytes: &Range<u64>) -> Result<(), OutOfMemory> {
        self.populate(bytes.start..bytes.start + 1)?;
        // The owner may have come meanwhile: what it uses is not to be collapsed.
        if !steps_of(bytes).any(|step| self.present.has(step)) {
            self.collapse(chunk);
        }
        self.populate(bytes.clone())
    }

    /// Returns the memory of the whole pages in the range.
    pub(super) fn give_back(&self, bytes: Range<u64>) -> io::Result<()> {
        let page = rustix::param::page_size() as u64;
        let bytes = bytes.start.next_multiple_of(page)..bytes.end / page * page;
        if bytes.is_empty() {
            return Ok(());
        }
        {
            let mut chunks = self.chunks();
            let (first, end) = (bytes.start / CHUNK_BYTES, bytes.end.div_ceil(CHUNK_BYTES));
            chunks.claimed.retain(|chunk| !(first..end).contains(chunk));
            steps_of(&bytes).for_each(|step| self.present.clear(step));
        }
        let whole = bytes.start.div_ceil(CHUNK_BYTES)..bytes.end / CHUNK_BYTES;
        self.advise(bytes, Advice::LinuxRemove)?;
        // Not before: who makes one would make what is then removed.
        let chunks = self.chunks();
        whole.for_each(|chunk| chunks.touched.clear(chunk));
        Ok(())
    }

    /// Makes one huge page of the chunk; whether that went well. Works also where transparent huge pages for shared
    /// memory are `never`.
    pub(super) fn collapse(&self, chunk: u64) -> bool {
        const MADV_COLLAPSE: libc::c_int = 25;
        let start = self.at(chunk * CHUNK_BYTES);
        // SAFETY: inside the mapping; it changes which pages hold the bytes, not the bytes.
        unsafe { libc::madvise(start.cast(), CHUNK_BYTES as usize, MADV_COLLAPSE) == 0 }
    }

    /// Asks the kernel to make the bytes present, for writing.
    pub(super) fn try_populate(&self, bytes: Range<u64>) -> Result<(), Errno> {
        self.advise(bytes, Advice::LinuxPopulateWrite)
    }

    /// How much of these pages the segment does not have; none where the kernel does not say.
    fn missing_bytes(&self, bytes: &Range<u64>) -> Option<u64> {
        let page = rustix::param::page_size() as u64;
        let length = bytes.end - bytes.start;
        let mut resident = [0_u8; (CHUNK_BYTES / 4096) as usize];
        let pages = &mut resident[..length.div_ceil(page) as usize];
        // SAFETY: inside the mapping, and one byte for each of its pages.
        let told =
            unsafe { libc::mincore(self.at(bytes.start).cast(), length as usize, pages.as_mut_ptr()) == 0 };
        (self.is_told && told).then(|| pages.iter().filter(|page| **page & 1 == 0).count() as u64 * page)
    }

    /// Whether no owner before this one left a page in a chunk.
    fn had_no_page(&self, chunk: &Range<u64>) -> bool {
        chunk.start >= self.data_ended || self.missing_bytes(chunk) == Some(CHUNK_BYTES)
    }

    fn chunks(&self) -> MutexGuard<'_, Chunks> {
        // They are right between any two statements.
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn populate(&self, bytes: Range<u64>) -> Result<(), OutOfMemory> {
        match self.try_populate(bytes.clone()) {
            Ok(()) => Ok(()),
            // Linux before 5.14.
            Err(Errno::INVAL) => {
                self.touch(bytes);
                Ok(())
            }
            Err(error) => {
                let limit =
                    format!("the kernel has no page for it ({error}); is shared memory limited here?");
                Err(OutOfMemory::new(limit, bytes.end - bytes.start))
            }
        }
    }

    /// Writes to each page without changing it.
    fn touch(&self, bytes: Range<u64>) {
        for offset in bytes.step_by(rustix::param::page_size()) {
            // SAFETY: inside the mapping, which is writable and aligned; other processes see no change.
            unsafe { &*self.at(offset).cast::<AtomicU64>() }.fetch_or(0, Ordering::Relaxed);
        }
    }

    fn advise(&self, bytes: Range<u64>, advice: Advice) -> Result<(), Errno> {
        let length = (bytes.end - bytes.start) as usize;
        // SAFETY: inside the mapping (`at` asserts it). The advices used here make pages present, or zero the range,
        // which is what the caller asked for.
        rustix::io::retry_on_intr(|| unsafe {
            rustix::mm::madvise(self.at(bytes.start).cast(), length, advice)
        })
    }

    fn at(&self, offset: u64) -> *mut u8 {
        assert!(offset < self.bytes, "offsets are compared with the region's limit");
        // SAFETY: inside the mapping.
        unsafe { self.base.add(offset as usize) }
    }
}

/// A bit for each of some things, all clear at first.
#[derive(Debug)]
struct Bits(Box<[AtomicU64]>);

impl Bits {
    fn new(length: u64) -> Self {
        Self((0..length.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    #[inline]
    fn has(&self, place: u64) -> bool {
        self.0[(place / 64) as usize].load(Ordering::Relaxed) & (1 << (place % 64)) != 0
    }

    /// Whether it was set before.
    fn set(&self, place: u64) -> bool {
        let bit = 1 << (place % 64);
        self.0[(place / 64) as usize].fetch_or(bit, Ordering::Relaxed) & bit != 0
    }

    fn clear(&self, place: u64) {
        self.0[(place / 64) as usize].fetch_and(!(1 << (place % 64)), Ordering::Relaxed);
    }
}

#[inline]
fn steps_of(bytes: &Range<u64>) -> Range<u64> {
    bytes.start / STEP_BYTES..bytes.end.div_ceil(STEP_BYTES)
}
