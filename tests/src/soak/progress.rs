//! How far the kills have come, on standard error: a line that is written over on a terminal, now and then a line elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

pub(super) struct Progress {
    kills: u64,
    begun: Instant,
    told: Option<Instant>,
    on_terminal: bool,
}

impl Progress {
    pub(super) fn of(kills: u64) -> Self {
        Self { kills, begun: Instant::now(), told: None, on_terminal: io::stderr().is_terminal() }
    }

    /// So many kills, and so many commits, are done.
    pub(super) fn tell(&mut self, kills: u64, commits: u64) {
        let pause = Duration::from_secs(if self.on_terminal { 1 } else { 10 });
        if kills < self.kills && self.told.is_some_and(|told| told.elapsed() < pause) {
            return;
        }
        self.told = Some(Instant::now());
        let elapsed = self.begun.elapsed().as_secs();
        self.say(&format!("{kills} of {} kills, {commits} commits, {elapsed} s", self.kills));
    }

    /// Says a line; nobody may be listening.
    pub(super) fn say(&self, line: &str) {
        let end = if self.on_terminal && !line.contains('\n') { "\x1b[K\r" } else { "\n" };
        let _ = write!(io::stderr(), "soak: {line}{end}");
    }
}
