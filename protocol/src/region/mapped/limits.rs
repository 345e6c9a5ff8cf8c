//! How many words may be read and written: in a page that the kernel wipes in a forked child (rule H2).

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// The page; zero in any process but the one that made it. Unmapped when it is dropped.
#[derive(Debug)]
pub(super) struct LimitsPage(Limits);

/// What is in the page, for as long as the [`LimitsPage`] lives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    page: NonNull<Words>,
}

/// Set once, before anybody else sees them; read as atomics because the kernel changes them behind a fork's back.
#[derive(Debug)]
#[repr(C)]
struct Words {
    readable: AtomicU64,
    writable: AtomicU64,
}

// SAFETY: the page outlives this value, and holds atomics only.
unsafe impl Send for Limits {}
// SAFETY: as above.
unsafe impl Sync for Limits {}

impl LimitsPage {
    pub(super) fn new(words: u64, writable: bool) -> Result<Self, Errno> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new range that nobody uses, wherever the kernel puts it.
        let page =
            unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), page_bytes(), protection, flags)? };
        let limits = Limits { page: NonNull::new(page.cast()).expect("a mapping is not at address zero") };
        let owner = Self(limits);
        // SAFETY: our own page.
        unsafe { rustix::mm::madvise(page, page_bytes(), Advice::LinuxWipeOnFork)? };
        limits.words().readable.store(words, Ordering::Relaxed);
        limits.words().writable.store(if writable { words } else { 0 }, Ordering::Relaxed);
        Ok(owner)
    }

    /// To be used only while `self` lives.
    pub(super) fn limits(&self) -> Limits {
        self.0
    }
}

impl Limits {
    #[inline(always)]
    pub(super) fn readable(&self) -> u64 {
        self.words().readable.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(super) fn writable(&self) -> u64 {
        self.words().writable.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn words(&self) -> &Words {
        // SAFETY: the page is mapped while this value is used, in a forked child too, and zero is a valid value.
        unsafe { self.page.as_ref() }
    }
}

impl Drop for LimitsPage {
    fn drop(&mut self) {
        // SAFETY: our own page (a forked child's own copy of it), which nobody uses any more.
        let unmapped = unsafe { rustix::mm::munmap(self.0.page.as_ptr().cast(), page_bytes()) };
        debug_assert!(unmapped.is_ok(), "munmap fails only for a range that is not ours");
    }
}

fn page_bytes() -> usize {
    rustix::param::page_size()
}
