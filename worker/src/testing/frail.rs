//! The memory of a test's table, whose writer can be made to die at a commit.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use heirloom_protocol::region::{HeapRegion, OutOfMemory, Region};
use heirloom_protocol::table::{self, Clock};

/// A table on the heap, and what its handles need beside it.
#[derive(Debug, Clone)]
pub(crate) struct HeapTable {
    pub(crate) region: Arc<HeapRegion>,
    pub(crate) clock: Clock,
    /// None where the writer shall live.
    pub(crate) death: Option<Arc<Death>>,
}

/// When a writer dies, and whether it has.
#[derive(Debug)]
pub(crate) struct Death {
    /// At which of its commits, from 0 on.
    at_commit: u64,
    moment: Moment,
    commits: AtomicU64,
    has_come: AtomicBool,
}

/// Where in a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Right before the commit stands: it never was.
    Before,
    /// Right after: recovery finishes it.
    After,
}

impl Death {
    pub(crate) fn new(at_commit: u64, moment: Moment) -> Arc<Self> {
        let (commits, has_come) = (AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Self { at_commit, moment, commits, has_come })
    }

    pub(crate) fn has_come(&self) -> bool {
        self.has_come.load(Ordering::Relaxed)
    }
}

/// The region that the writer of a [`HeapTable`] writes.
#[derive(Debug)]
pub(crate) struct FrailRegion {
    region: Arc<HeapRegion>,
    death: Option<Arc<Death>>,
}

impl HeapTable {
    pub(crate) fn for_writer(&self) -> FrailRegion {
        FrailRegion { region: Arc::clone(&self.region), death: self.death.clone() }
    }
}

impl FrailRegion {
    /// As a killed process does: stores nothing any more, and runs nothing any more but what unwinding drops.
    #[cold]
    fn die_in_time(&self, death: &Death, word: u64, value: u64) {
        if death.has_come() {
            return;
        }
        let is_time =
            table::is_commit(word) && death.commits.fetch_add(1, Ordering::Relaxed) == death.at_commit;
        if !is_time || death.moment == Moment::After {
            self.region.store(word, value);
        }
        if is_time {
            death.has_come.store(true, Ordering::Relaxed);
            // Unlike panic!, this says nothing on standard error.
            resume_unwind(Box::new("the worker died at a commit, as its test wants"));
        }
    }
}

impl Region for FrailRegion {
    #[inline]
    fn words(&self) -> u64 {
        self.region.words()
    }

    #[inline]
    fn load(&self, word: u64) -> u64 {
        self.region.load(word)
    }

    #[inline]
    fn store(&self, word: u64, value: u64) {
        match &self.death {
            None => self.region.store(word, value),
            Some(death) => self.die_in_time(death, word, value),
        }
    }

    fn copy_out(&self, word: u64, bytes: usize, into: &mut Vec<u8>) -> bool {
        self.region.copy_out(word, bytes, into)
    }

    fn make_present(&self, words: Range<u64>) -> Result<(), OutOfMemory> {
        self.region.make_present(words)
    }
}
