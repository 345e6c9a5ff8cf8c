//! Which parts of a mapping are backed by memory, and how they come to be (rules H4 and H5).
//!
//! What this process has made present is remembered here, one bit for each step of 64 KiB: a step costs about 15 µs,
//! and is the most that a write ever waits for. A fresh chunk of 2 MiB, one without any page, becomes one huge page,
//! where the kernel has one: its owner's death is noticed a hundred times faster then (rule H11).
//!
//! The bits do not say what is fresh: an heir's are all clear, and what was given back in part is in use in part. That
//! the kernel is asked. Two threads make memory present, the owner's and the one that works ahead of it, and each page
//! is asked for and counted once: a step is made under a lock, and so is the decision to make a chunk, but not the chunk
//! itself, for which no write is to wait unless it needs just that one.

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
    /// One bit for each step.
    present: Box<[AtomicU64]>,
    /// The chunk that is being made, which is paid for as a whole.
    making: Mutex<Option<u64>>,
    /// What the segment has, as far as this process knows: what it had when it was mapped, and what came and went here.
    memory_bytes: AtomicU64,
    /// Where the segment's pages ended when it was mapped, where the kernel does not tell which ones it has: it tells
    /// the segment's owner only, and anybody else "all".
    untold: Option<UpTo>,
}

/// Pages that may be there: those before this offset.
type UpTo = u64;

// SAFETY: the pointer is only handed to `madvise`, and used for atomic operations on words.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// # Safety
    /// The mapping is that long, and stays while any method runs.
    pub(super) unsafe fn new(base: *mut u8, bytes: usize, memory_bytes: u64, untold: Option<UpTo>) -> Self {
        let steps = (bytes as u64).div_ceil(STEP_BYTES);
        let present = (0..steps.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let memory_bytes = AtomicU64::new(memory_bytes);
        Self { base, bytes: bytes as u64, present, making: Mutex::default(), memory_bytes, untold }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The segment's memory, nearly.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Whether this process has made all of these bytes present.
    #[inline]
    pub(super) fn are_present(&self, bytes: &Range<u64>) -> bool {
        steps_of(bytes).all(|step| self.is_present(step))
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
        if self.is_present(step) {
            return Ok(());
        }
        let making = self.making();
        let bytes = step * STEP_BYTES..(step + 1) * STEP_BYTES;
        if *making != Some(step / STEPS_PER_CHUNK) && !self.is_present(step) {
            // Pages from an owner before this one are no new memory: an heir gets them however little is left.
            self.take(self.missing_bytes(&bytes).unwrap_or(STEP_BYTES))?;
        }
        self.populate(bytes)?;
        self.mark(step..step + 1);
        Ok(())
    }

    /// Makes a fresh chunk present, as one huge page where it can be; false where it has a page already, or another one is
    /// being made, and nothing is done.
    ///
    /// Collapsing is for fresh chunks only: a writer in the middle of one would be stopped for milliseconds. And it
    /// comes before populating: a chunk with a single page becomes a huge one in a fifth of the time of a full one,
    /// whose pages would have to be copied (0.5 against 2.6 ms; without any page there is nothing to collapse).
    pub(super) fn make_chunk_present(&self, chunk: u64) -> Result<bool, OutOfMemory> {
        let bytes = chunk * CHUNK_BYTES..(chunk + 1) * CHUNK_BYTES;
        {
            let mut making = self.making();
            if making.is_some() || !self.is_fresh(&bytes) {
                return Ok(false);
            }
            self.take(CHUNK_BYTES)?;
            *making = Some(chunk);
        }
        let made = self.populate(bytes.start..bytes.start + 1).and_then(|()| {
            self.collapse(chunk);
            self.populate(bytes.clone())
        });
        // Unless some of it was given back meanwhile.
        if self.making().take() == Some(chunk) && made.is_ok() {
            self.mark(steps_of(&bytes));
        }
        made.map(|()| true)
    }

    /// Returns the memory of the whole pages in the range.
    pub(super) fn give_back(&self, bytes: Range<u64>) -> io::Result<()> {
        let page = rustix::param::page_size() as u64;
        let (start, end) = (bytes.start.next_multiple_of(page), bytes.end / page * page);
        if start >= end {
            return Ok(());
        }
        let bytes = start..end;
        let mut making = self.making();
        making.take_if(|chunk| *chunk * CHUNK_BYTES < bytes.end && bytes.start < (*chunk + 1) * CHUNK_BYTES);
        let returned = end - start - self.missing_bytes(&bytes).unwrap_or(0);
        for step in steps_of(&bytes) {
            self.present[(step / 64) as usize].fetch_and(!(1 << (step % 64)), Ordering::Relaxed);
        }
        self.advise(bytes, Advice::LinuxRemove)?;
        let less = |memory: u64| Some(memory.saturating_sub(returned));
        let _ = self.memory_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
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

    /// Whether the segment has no page there.
    fn is_fresh(&self, bytes: &Range<u64>) -> bool {
        match self.untold {
            None => self.missing_bytes(bytes) == Some(bytes.end - bytes.start),
            Some(up_to) => up_to <= bytes.start && !steps_of(bytes).any(|step| self.is_present(step)),
        }
    }

    /// How much of these pages the segment does not have; none where the kernel does not say.
    fn missing_bytes(&self, bytes: &Range<u64>) -> Option<u64> {
        const PAGES: usize = 512;
        if self.untold.is_some() {
            return None;
        }
        let page = rustix::param::page_size() as u64;
        let mut missing = 0;
        for start in bytes.clone().step_by(PAGES * page as usize) {
            let length = (bytes.end - start).min(PAGES as u64 * page);
            let mut resident = [0_u8; PAGES];
            // SAFETY: inside the mapping, and one byte for each of its pages.
            let told =
                unsafe { libc::mincore(self.at(start).cast(), length as usize, resident.as_mut_ptr()) == 0 };
            if !told {
                return None;
            }
            let pages = &resident[..length.div_ceil(page) as usize];
            missing += pages.iter().filter(|page| **page & 1 == 0).count() as u64 * page;
        }
        Some(missing)
    }

    /// Asks for new memory, and counts it.
    fn take(&self, bytes: u64) -> Result<(), OutOfMemory> {
        if bytes > 0 {
            limits::ask_for(bytes)?;
            self.memory_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    fn making(&self) -> MutexGuard<'_, Option<u64>> {
        // It is right between any two statements.
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[inline]
    fn is_present(&self, step: u64) -> bool {
        self.present[(step / 64) as usize].load(Ordering::Relaxed) & (1 << (step % 64)) != 0
    }

    fn mark(&self, steps: Range<u64>) {
        for step in steps {
            self.present[(step / 64) as usize].fetch_or(1 << (step % 64), Ordering::Relaxed);
        }
    }
}

#[inline]
fn steps_of(bytes: &Range<u64>) -> Range<u64> {
    bytes.start / STEP_BYTES..bytes.end.div_ceil(STEP_BYTES)
}
