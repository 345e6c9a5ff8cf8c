//! How far long work has come: a bar on standard error where that is a terminal, nothing otherwise.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// Shows progress; gone from the screen when it is dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Work on about so many entries.
    pub(super) fn entries(work: &'static str, entries: u64) -> Self {
        let bar = ProgressBar::new(entries);
        Self::with(bar, work, "{msg} {wide_bar} {human_pos} of {human_len} entries, {eta} left")
    }

    fn with(bar: ProgressBar, work: &'static str, template: &str) -> Self {
        bar.set_style(ProgressStyle::with_template(template).expect("the templates above are right"));
        bar.set_message(work);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// So much is done.
    pub(super) fn at(&self, position: u64) {
        self.0.set_position(position);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
