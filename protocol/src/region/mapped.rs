//! A region in a mapped segment.
//!
//! ```text
//!            2 MiB aligned
//!  mapping   ├───────────────────────────────────────────────────────────┤  shared; not in core dumps, nor in forks (rule H2)
//!            │ present, 64 KiB steps │ ahead │ never touched: no memory   │
//!  limits    ┌──────────────────────────┐
//!            │ words to read, to write  │  private page that the kernel wipes in a forked child
//!            └──────────────────────────┘
//! ```
//!
//! Every access compares with a limit in that private page. A forked child finds it zero, so there the region has no
//! words: its loads are zero, its stores are dropped, and [`Region::words`] says 0, instead of a SIGSEGV in a mapping
//! that the child does not have. That costs nothing, since the limit has to be loaded from somewhere.
//!
//! Other processes write this memory at the same time, so no reference to bytes of it is ever made: it is words, loaded
//! and stored atomically.

mod ahead;
mod limits;
mod pages;

use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::time::{ClockId, clock_gettime};

use self::ahead::Ahead;
use self::limits::{Limits, LimitsPage};
use self::pages::Pages;
use super::{OutOfMemory, Region};
use crate::sync::{LOAD, STORE};
use crate::sys::segment::{self, NotASegment, SEGMENT_UNIT_BYTES};

/// Words that are copied at a time, as far as possible: a cache line of them.
const LINE_WORDS: usize = 8;

/// A segment could not be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The descriptor is something else, or does not allow it.
    #[error(transparent)]
    NotASegment(#[from] NotASegment),
    /// `RLIMIT_AS` is too low for it.
    #[error(
        "mapping the table takes {needed} bytes of address space, and RLIMIT_AS leaves {left}: raise it (ulimit -v)"
    )]
    AddressSpace {
        /// What is needed.
        needed: u64,
        /// What is left.
        left: u64,
    },
    /// The kernel refused.
    #[error("cannot map the table: {0}")]
    Failed(#[source] io::Error),
}

impl MapError {
    pub(crate) fn from_errno(error: Errno) -> Self {
        Self::Failed(error.into())
    }
}

/// A table's segment, mapped by this process. Inert in a forked child, drop included.
pub struct MappedRegion {
    base: *mut AtomicU64,
    limits: Limits,
    /// What `base` and `limits` point to, for as long as this value lives.
    mapping: Arc<Mapping>,
}

// SAFETY: the pointers are to memory that stays mapped while this value lives, and are only used for atomic loads and
// stores.
unsafe impl Send for MappedRegion {}
// SAFETY: as above.
unsafe impl Sync for MappedRegion {}

/// The mapping itself: all regions that share it use it, and the last one unmaps it.
struct Mapping {
    base: *mut AtomicU64,
    bytes: usize,
    pages: Arc<Pages>,
    ahead: Ahead,
    limits: LimitsPage,
}

// SAFETY: the pointer is used for unmapping only, by the last one who has this value.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl MappedRegion {
    /// Maps a segment to write it, and closes the descriptor (rule H3).
    ///
    /// # Errors
    /// [`MapError`].
    pub fn writable(descriptor: OwnedFd) -> Result<Self, MapError> {
        segment::require_writable(descriptor.as_fd())?;
        Self::map(descriptor.as_fd(), true)
    }

    /// Maps a segment to read it, and closes the descriptor. What is stored to it is dropped.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn read_only(descriptor: OwnedFd) -> Result<Self, MapError> {
        Self::map(descriptor.as_fd(), false)
    }

    /// The same memory once more, for a manager whose workers are threads of its own process: mapped once, and unmapped
    /// with the last of them.
    #[must_use]
    pub fn share(&self) -> Self {
        Self { base: self.base, limits: self.limits, mapping: Arc::clone(&self.mapping) }
    }

    /// Gives the memory of these words back; they read as zero from here on. Only whole pages inside the range.
    ///
    /// # Errors
    /// Where the region is read-only, the range is not inside it, or the kernel refuses.
    pub fn try_give_back(&self, words: Range<u64>) -> io::Result<()> {
        if words.start > words.end || words.end > self.limits.writable() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.mapping.pages.give_back(words.start * 8..words.end * 8)
    }

    /// Whether this is a forked child's copy, which has no words.
    #[must_use]
    pub fn is_inert(&self) -> bool {
        self.limits.readable() == 0
    }

    fn map(descriptor: BorrowedFd<'_>, writable: bool) -> Result<Self, MapError> {
        let bytes = segment::check(descriptor)?;
        if let Some(left) =
            crate::sys::limits::address_space_left().filter(|left| *left < bytes + SEGMENT_UNIT_BYTES)
        {
            return Err(MapError::AddressSpace { needed: bytes + SEGMENT_UNIT_BYTES, left });
        }
        let bytes = usize::try_from(bytes).map_err(|error| MapError::Failed(io::Error::other(error)))?;
        let limits = LimitsPage::new(bytes as u64 / 8, writable).map_err(MapError::from_errno)?;
        let base = map_aligned(descriptor, bytes, writable).map_err(MapError::from_errno)?;
        // SAFETY: the mapping was just made, that long, and is unmapped only by `Mapping::drop`, which ends `Ahead` first.
        let pages = unsafe {
            let bytes = if writable { bytes } else { 0 };
            let data_ended = segment::data_ends_before(descriptor, bytes as u64);
            Pages::new(base, bytes, data_ended, segment::is_ours(descriptor))
        };
        let pages = Arc::new(pages);
        let ahead = Ahead::new(Arc::clone(&pages));
        let base = base.cast();
        let region = Self {
            base,
            limits: limits.limits(),
            mapping: Arc::new(Mapping { base, bytes, pages, ahead, limits }),
        };
        region.advise(Advice::LinuxDontDump)?;
        region.advise(Advice::LinuxDontFork)?;
        Ok(region)
    }

    fn advise(&self, advice: Advice) -> Result<(), MapError> {
        // SAFETY: the range is our own mapping, and neither advice changes what it holds for this process.
        unsafe { rustix::mm::madvise(self.base.cast(), self.mapping.bytes, advice) }
            .map_err(MapError::from_errno)
    }

    /// Pointer to a word that is below the limit.
    #[inline(always)]
    fn pointer_to(&self, word: u64, limit: u64) -> Option<*mut AtomicU64> {
        // SAFETY: the limit is at most the number of words mapped.
        (word < limit).then(|| unsafe { self.base.add(word as usize) })
    }

    /// Pointer to `count` words from `word` on, where they are all below the limit.
    #[inline(always)]
    fn pointer(&self, word: u64, count: u64, limit: u64) -> Option<*mut AtomicU64> {
        // SAFETY: `word` is at most `limit`, and that is at most the number of words mapped.
        (count <= limit && word <= limit - count).then(|| unsafe { self.base.add(word as usize) })
    }
}

impl Region for MappedRegion {
    #[inline]
    fn words(&self) -> u64 {
        self.limits.readable()
    }

    #[inline]
    fn load(&self, word: u64) -> u64 {
        match self.pointer_to(word, self.limits.readable()) {
            // SAFETY: inside the mapping, aligned, and shared as atomics only.
            Some(pointer) => unsafe { &*pointer }.load(LOAD),
            None => 0,
        }
    }

    #[inline]
    fn store(&self, word: u64, value: u64) {
        if let Some(pointer) = self.pointer_to(word, self.limits.writable()) {
            // SAFETY: as in `load`; and the mapping is writable, or the limit would be zero.
            unsafe { &*pointer }.store(value, STORE);
        }
    }

    #[inline]
    fn store_words(&self, word: u64, values: &[u64]) {
        let Some(to) = self.pointer(word, values.len() as u64, self.limits.writable()) else { return };
        for (offset, value) in values.iter().enumerate() {
            // SAFETY: inside what was checked, and writable, or the limit would be zero.
            unsafe { &*to.add(offset) }.store(*value, STORE);
        }
    }

    #[inline]
    fn copy_out(&self, word: u64, bytes: usize, into: &mut Vec<u8>) -> bool {
        let words = bytes.div_ceil(8);
        let Some(from) = self.pointer(word, words as u64, self.limits.readable()) else { return false };
        into.reserve(words * 8);
        let start = into.len();
        // SAFETY: `into` has room for that many words behind its end; its bytes need no alignment, so they are written
        // as arrays.
        let to = unsafe { into.as_mut_ptr().add(start) }.cast::<[u8; 8]>();
        // SAFETY: what is copied is inside what was checked and reserved.
        let copy =
            |offset: usize| unsafe { to.add(offset).write((*from.add(offset)).load(LOAD).to_le_bytes()) };
        let mut line = 0;
        while line + LINE_WORDS <= words {
            (line..line + LINE_WORDS).for_each(copy);
            line += LINE_WORDS;
        }
        (line..words).for_each(copy);
        // SAFETY: all of these bytes were just written.
        unsafe { into.set_len(start + bytes) };
        true
    }

    #[inline]
    fn equals(&self, word: u64, expected: &[u8]) -> bool {
        let words = expected.len().div_ceil(8);
        let Some(from) = self.pointer(word, words as u64, self.limits.readable()) else { return false };
        // SAFETY: inside what was checked.
        let load = |offset: usize| unsafe { &*from.add(offset) }.load(LOAD);
        let (whole, rest) = expected.as_chunks::<8>();
        if !whole.iter().enumerate().all(|(offset, chunk)| load(offset) == u64::from_le_bytes(*chunk)) {
            return false;
        }
        if rest.is_empty() {
            return true;
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let mask = u64::MAX >> (64 - 8 * rest.len());
        load(whole.len()) & mask == u64::from_le_bytes(last)
    }

    #[inline]
    fn copy_in(&self, word: u64, bytes: &[u8]) {
        let words = bytes.len().div_ceil(8);
        let Some(to) = self.pointer(word, words as u64, self.limits.writable()) else { return };
        // SAFETY: inside what was checked, and writable, or the limit would be zero.
        let store = |offset: usize, value| unsafe { &*to.add(offset) }.store(value, STORE);
        let (lines, rest) = bytes.as_chunks::<{ 8 * LINE_WORDS }>();
        for (number, line) in lines.iter().enumerate() {
            let start = number * LINE_WORDS;
            line.as_chunks()
                .0
                .iter()
                .zip(start..)
                .for_each(|(chunk, offset)| store(offset, u64::from_le_bytes(*chunk)));
        }
        let start = lines.len() * LINE_WORDS;
        let (whole, rest) = rest.as_chunks();
        whole.iter().zip(start..).for_each(|(chunk, offset)| store(offset, u64::from_le_bytes(*chunk)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            store(words - 1, u64::from_le_bytes(last));
        }
    }

    fn make_present(&self, words: Range<u64>) -> Result<(), OutOfMemory> {
        let limit = self.limits.writable();
        if words.start > words.end || words.end > limit {
            let missing = words.end.saturating_sub(limit).saturating_mul(8);
            return Err(OutOfMemory::new("the segment ends there, or is read-only", missing));
        }
        let bytes = words.start * 8..words.end * 8;
        if !self.mapping.pages.are_present(&bytes) {
            self.mapping.pages.make_present(&bytes)?;
        }
        self.mapping.ahead.grown_by(&bytes);
        Ok(())
    }

    fn give_back(&self, words: Range<u64>) {
        // What the kernel does not take stays present, and is used again as it is.
        let _ = self.try_give_back(words);
    }

    fn clock(&self) -> Option<Duration> {
        let time = clock_gettime(ClockId::Monotonic);
        Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
    }

    #[inline]
    fn prefetch(&self, word: u64) {
        #[cfg(target_arch = "x86_64")]
        {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint reads nothing, wherever it points.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(self.base.wrapping_add(word as usize).cast_const().cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = word;
    }

    fn expect_growth(&self, bytes: u64) {
        self.mapping.ahead.expect(bytes);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // In a forked child the address may hold something else by now, and the thread does not exist.
        if self.limits.limits().readable() == 0 {
            self.ahead.abandon();
            return;
        }
        self.ahead.stop();
        // SAFETY: our own mapping, to which nobody has a pointer any more: the thread has ended.
        let unmapped = unsafe { rustix::mm::munmap(self.base.cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "munmap fails only for a range that is not ours");
    }
}

impl fmt::Debug for MappedRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let writable = self.limits.writable() > 0;
        f.debug_struct("MappedRegion")
            .field("bytes", &self.mapping.bytes)
            .field("writable", &writable)
            .finish_non_exhaustive()
    }
}

/// Whether this kernel can make pages present on demand, tried on a mapping of one's own.
pub(crate) fn can_populate(region: &MappedRegion) -> bool {
    region.mapping.pages.try_populate(0..pages::STEP_BYTES).is_ok()
}

/// Whether this kernel can make huge pages of shared memory on demand.
pub(crate) fn can_collapse(region: &MappedRegion) -> bool {
    let pages = &region.mapping.pages;
    pages.try_populate(0..pages::STEP_BYTES).is_ok() && pages.collapse(0)
}

/// Maps the segment at a multiple of [`SEGMENT_UNIT_BYTES`], so that huge pages fit (rule H2).
fn map_aligned(descriptor: BorrowedFd<'_>, bytes: usize, writable: bool) -> Result<*mut u8, Errno> {
    let unit = SEGMENT_UNIT_BYTES as usize;
    let protection = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
    // SAFETY: a new range that nobody uses, wherever the kernel puts it.
    let room = unsafe {
        rustix::mm::mmap_anonymous(
            std::ptr::null_mut(),
            bytes + unit,
            ProtFlags::empty(),
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )?
    };
    let before = room.cast::<u8>().align_offset(unit);
    // SAFETY: `before` is below `unit`, so this is inside the room.
    let base = unsafe { room.cast::<u8>().add(before) };
    // SAFETY: replaces a part of the room that was just made; the seals (checked) keep the file that long.
    let mapped = unsafe {
        rustix::mm::mmap(base.cast(), bytes, protection, MapFlags::SHARED | MapFlags::FIXED, descriptor, 0)
    };
    if let Err(error) = mapped {
        // SAFETY: the room is ours.
        let _ = unsafe { rustix::mm::munmap(room, bytes + unit) };
        return Err(error);
    }
    if before > 0 {
        // SAFETY: what is left of the room before the mapping.
        unsafe { rustix::mm::munmap(room, before)? };
    }
    // SAFETY: what is left of the room behind the mapping, at least a page since `before` is a multiple of it.
    unsafe { rustix::mm::munmap(base.add(bytes).cast(), unit - before)? };
    Ok(base)
}
