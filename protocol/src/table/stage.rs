//! The write set of a commit, and the redo log it becomes.
//!
//! ```text
//!  log   version │ count │ word, value │ word, value │ ...
//! ```
//!
//! | store | what a kill right after it leaves |
//! | --- | --- |
//! | log version, log words, log count | `committed == applied`: the commit never was; its preparations are reusable memory |
//! | `committed = v` | the commit stands: recovery applies the log |
//! | each logged store | the same: applying it again from the start ends in the same words (R4) |
//! | `applied = v` | nothing is in flight |

use std::collections::HashMap;

use super::bucket::View;
use super::error::OpenError;
use super::layout::{APPLIED, COMMITTED, Layout};
use crate::region::Region;

/// Words of the log before the first pair.
pub(super) const LOG_HEADER_WORDS: u64 = 2;
const LOG_VERSION: u64 = 0;
const LOG_COUNT: u64 = 1;

/// The word stores of the commit that is being prepared: at most one for a word (R4; an overflow bucket that a transaction
/// both prepares and fills is stored first and logged then, never the other way round), in the order in which they will
/// be logged and applied (R3): first what readers see (slots, links, removed-at, the root) and what they will see through
/// what follows, then what makes it reachable (permutations and pointers of the ordered index), then counts, then
/// the allocator's words.
#[derive(Debug, Default)]
pub(super) struct Stage {
    visible: Words,
    /// More that readers see, each known to come once: the removed-at words of entries.
    once: Vec<Store>,
    publishing: Words,
    header: Vec<Store>,
}

/// A word and its new value, as they are in the log.
type Store = [u64; 2];

/// Stores of one class.
#[derive(Debug, Default)]
struct Words {
    list: Vec<Store>,
    /// Where each word is, once there are too many to look through.
    positions: HashMap<u64, usize>,
}

/// Up to this many stores, looking through them is cheaper than hashing.
const FEW: usize = 24;

impl Words {
    #[inline]
    fn clear(&mut self) {
        self.list.clear();
        if !self.positions.is_empty() {
            self.positions = HashMap::new();
        }
    }

    #[inline]
    fn store(&mut self, word: u64, value: u64) {
        if !self.list.is_empty()
            && let Some(position) = self.position(word)
        {
            self.list[position][1] = value;
            return;
        }
        self.list.push([word, value]);
        if self.list.len() > FEW {
            self.remember();
        }
    }

    #[cold]
    fn remember(&mut self) {
        let first = self.positions.len();
        for (position, [word, _]) in self.list.iter().enumerate().skip(first) {
            self.positions.insert(*word, position);
        }
    }

    fn position(&self, word: u64) -> Option<usize> {
        if self.list.len() <= FEW {
            self.list.iter().position(|[staged, _]| *staged == word)
        } else {
            self.positions.get(&word).copied()
        }
    }

    #[inline(always)]
    fn staged(&self, word: u64) -> Option<u64> {
        if self.list.is_empty() {
            return None;
        }
        self.position(word).map(|position| self.list[position][1])
    }
}

impl Stage {
    #[inline]
    pub(super) fn clear(&mut self) {
        self.visible.clear();
        self.once.clear();
        self.publishing.clear();
        self.header.clear();
    }

    /// Number of stores.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.visible.list.len() + self.once.len() + self.publishing.list.len() + self.header.len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stages a store that readers may see.
    #[inline]
    pub(super) fn store(&mut self, word: u64, value: u64) {
        self.visible.store(word, value);
    }

    /// Stages a store that readers may see, to a word that this commit stores no other time and does not read.
    #[inline]
    pub(super) fn store_once(&mut self, word: u64, value: u64) {
        self.once.push([word, value]);
    }

    /// Stages a store that makes what is prepared, or staged as visible, reachable: it comes after all of these.
    #[inline]
    pub(super) fn publish(&mut self, word: u64, value: u64) {
        self.publishing.store(word, value);
    }

    /// Takes back what is staged to be published by these words: they keep what they have.
    pub(super) fn take_back<R: Region>(&mut self, region: &R, words: std::ops::Range<u64>) {
        if self.publishing.list.is_empty() {
            return;
        }
        for word in words {
            if self.publishing.staged(word).is_some() {
                self.publishing.store(word, region.load(word));
            }
        }
    }

    /// The staged value of a word that readers may see.
    #[inline(always)]
    fn staged(&self, word: u64) -> Option<u64> {
        match self.visible.staged(word) {
            None => self.publishing.staged(word),
            staged => staged,
        }
    }

    /// Stages a store to one of the header's counts or of the allocator's words.
    #[inline]
    pub(super) fn store_header(&mut self, word: u64, value: u64) {
        match self.header.iter_mut().find(|[staged, _]| *staged == word) {
            Some([_, staged]) => *staged = value,
            None => self.header.push([word, value]),
        }
    }

    /// The staged value of one of these words, to be changed: it begins as what the word has.
    #[inline]
    pub(super) fn header_mut<R: Region>(&mut self, region: &R, word: u64) -> &mut u64 {
        let place = self.header.iter().position(|[staged, _]| *staged == word).unwrap_or_else(|| {
            self.header.push([word, region.load(word)]);
            self.header.len() - 1
        });
        &mut self.header[place][1]
    }

    /// One of the header's counts or of the allocator's words, as this commit will leave it.
    #[inline]
    pub(super) fn header<R: Region>(&self, region: &R, word: u64) -> u64 {
        match self.header.iter().find(|[staged, _]| *staged == word) {
            Some([_, staged]) => *staged,
            None => region.load(word),
        }
    }

    /// The table as this commit will leave it.
    #[inline]
    pub(super) fn over<'a, R>(&'a self, region: &'a R) -> Through<'a, R> {
        Through { stage: self, region }
    }

    /// Writes the log: all of it, before `committed` is stored (R2).
    #[inline]
    pub(super) fn write_log<R: Region>(&self, region: &R, layout: &Layout, version: u64) {
        let log = layout.log.start;
        region.store(log + LOG_VERSION, version);
        let mut at = log + LOG_HEADER_WORDS;
        for stores in self.in_order() {
            region.store_words(at, stores.as_flattened());
            at += 2 * stores.len() as u64;
        }
        region.store(log + LOG_COUNT, self.len() as u64);
    }

    /// Commits what the log says, and applies it. This is the moment.
    #[inline]
    pub(super) fn commit<R: Region>(&self, region: &R, version: u64) {
        region.store(COMMITTED, version);
        self.in_order().into_iter().flatten().for_each(|[word, value]| region.store(*word, *value));
        region.store(APPLIED, version);
    }

    /// The stores, in the order in which they are applied (R3).
    #[inline(always)]
    fn in_order(&self) -> [&[Store]; 4] {
        [&self.visible.list, &self.once, &self.publishing.list, &self.header]
    }
}

/// A table seen through a write set.
#[derive(Debug)]
pub(super) struct Through<'a, R> {
    stage: &'a Stage,
    region: &'a R,
}

impl<R: Region> View for Through<'_, R> {
    #[inline(always)]
    fn word(&self, word: u64) -> u64 {
        match self.stage.staged(word) {
            Some(value) => value,
            None => self.region.load(word),
        }
    }
}

/// Words that a log of so many stores takes.
pub(super) fn log_words(stores: usize) -> u64 {
    LOG_HEADER_WORDS + 2 * stores as u64
}

/// The version whose log was being written, or is complete.
pub(super) fn logged_version<R: Region>(region: &R, layout: &Layout) -> u64 {
    region.load(layout.log.start + LOG_VERSION)
}

/// Applies the log of the commit in flight. Needs no knowledge of any structure, and may be cut and repeated.
pub(super) fn apply_log<R: Region>(region: &R, layout: &Layout, version: u64) -> Result<u64, OpenError> {
    let log = layout.log.start;
    let count = region.load(log + LOG_COUNT);
    if logged_version(region, layout) != version || count > (layout.log.words - LOG_HEADER_WORDS) / 2 {
        return Err(OpenError::Corrupt(format!(
            "commit {version} stands, but the log is of version {} with {count} stores",
            logged_version(region, layout)
        )));
    }
    let pairs = || (0..count).map(|pair| log + LOG_HEADER_WORDS + 2 * pair);
    // First all of it is checked, so that a corrupt log changes nothing.
    if let Some(at) = pairs().find(|at| !layout.may_be_logged(region.load(*at))) {
        return Err(OpenError::Corrupt(format!(
            "the log of commit {version} names word {}, which no commit changes",
            region.load(at)
        )));
    }
    for at in pairs() {
        region.store(region.load(at), region.load(at + 1));
    }
    region.store(APPLIED, version);
    Ok(count)
}

/// Marks the log as no version's, so that a discarded one is reported once.
pub(super) fn forget_log<R: Region>(region: &R, layout: &Layout) {
    region.store(layout.log.start + LOG_VERSION, 0);
}
