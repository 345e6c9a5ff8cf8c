//! What happens, told as it happens: on standard error, with a progress bar where that is a terminal.

use super::picture::ms;
use super::report::Kill;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};

/// Tells the story.
pub(super) struct Story {
    bar: Option<ProgressBar>,
    kills: u64,
    told: u64,
}

impl Story {
    pub(super) fn begin(events: u64, kills: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} events  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::with_draw_target(Some(events), ProgressDrawTarget::stderr_with_hz(10))
                .with_style(style)
        });
        Self { bar, kills, told: 0 }
    }

    /// A line of the story.
    pub(super) fn tell(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            // There is nowhere to report that standard error is gone.
            None => drop(writeln!(io::stderr().lock(), "{line}")),
        }
    }

    /// So many events are counted, by this process.
    pub(super) fn progress(&self, position: u64, owner: u32) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            bar.set_message(format!("owner {owner}"));
        }
    }

    /// The owner was killed, and its heir has the table.
    pub(super) fn tell_kill(&mut self, kill: &Kill) {
        self.told += 1;
        let Kill { victim, heir, position, handoff_us, .. } = kill;
        let too = kill.manager.map(|pid| format!(", and manager {pid},")).unwrap_or_default();
        let moment = if kill.mid_commit { " in the middle of a commit" } else { "" };
        let stages: Vec<String> =
            kill.stages_us.iter().map(|(stage, time_us)| format!("{stage} {}", ms(*time_us))).collect();
        let (number, of, handoff) = (self.told, self.kills, ms(*handoff_us));
        self.tell(&format!("kill {number} of {of}: owner {victim}{too} killed{moment}; {heir} went on at event {position} after {handoff}"));
        if !stages.is_empty() {
            self.tell(&format!("    {}", stages.join(", ")));
        }
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
