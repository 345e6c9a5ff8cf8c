//! Waiting for something to happen.

use std::time::{Duration, Instant};
use std::{fmt, thread};

/// Nothing that is waited for takes longer, on the slowest of machines.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer.
///
/// # Panics
/// When [`PATIENCE`] ends, saying what was waited for.
#[track_caller]
pub fn eventually<T>(what: impl fmt::Display, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
