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

    /// Work on a file of so many bytes, or on a stream of unknown length.
    pub(super) fn bytes(work: &'static str, bytes: Option<u64>) -> Self {
        match bytes {
            Some(bytes) => Self::with(
                ProgressBar::new(bytes),
                work,
                "{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left",
            ),
            None => Self::with(ProgressBar::new_spinner(), work, "{msg} {spinner} {bytes}, {bytes_per_sec}"),
        }
    }

    /// Work that does not say how far it has come.
    pub(super) fn unknown(work: &'static str) -> Self {
        Self::with(ProgressBar::new_spinner(), work, "{msg} {spinner} {elapsed}")
    }

    fn with(bar: ProgressBar, work: &'static str, template: &str) -> Self {
        bar.set_style(ProgressStyle::with_template(template).expect("the templates above are right"));
        bar.set_message(work);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// What is being worked on now.
    pub(super) fn now(&self, work: &str) {
        self.0.set_message(work.to_owned());
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
