//! Making memory present before a growing table asks for it (rule H4).

use std::ops::Range;
use std::sync::Arc;

use super::pages::Pages;

/// Keeps memory present ahead of where a table grows.
#[derive(Debug)]
pub(super) struct Ahead {
    pages: Arc<Pages>,
}

impl Ahead {
    pub(super) fn new(pages: Arc<Pages>) -> Self {
        Self { pages }
    }

    /// The table has grown by these bytes.
    pub(super) fn grown_to(&self, bytes: &Range<u64>) {
        debug_assert!(bytes.end <= self.pages.bytes());
    }

    /// Ends the thread, before the mapping ends.
    pub(super) fn stop(&mut self) {}

    /// Forgets the thread, which is not there in a forked child.
    pub(super) fn abandon(&mut self) {}
}
