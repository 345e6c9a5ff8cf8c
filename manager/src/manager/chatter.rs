//! Log lines that clients cause, so that none of them fills a disk or hides what matters: of each kind the first few,
//! then how many more there were.
//!
//! A process has one log, and so one of these.

use super::access::is_ours;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many lines of one kind are said, in each [`WHILE`].
const SAID: u64 = 10;

const WHILE: Duration = Duration::from_secs(10);

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A connection is refused, or cannot be taken up.
    Connections,
    /// A request is refused.
    Refusals,
    /// A connection is ended for what the client did.
    CutOff,
    /// Workers that come.
    Workers,
}

/// Whose doing it is: what others do does not hide what our own user's processes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Ours,
    Others,
}

impl By {
    pub(super) fn of(uid: u32) -> Self {
        if is_ours(uid) { Self::Ours } else { Self::Others }
    }
}

const KINDS: [(Kind, &str); 4] = [
    (Kind::Connections, "connections not taken up"),
    (Kind::Refusals, "requests refused"),
    (Kind::CutOff, "clients cut off"),
    (Kind::Workers, "workers registered"),
];

/// What has been said of one kind since a moment.
#[derive(Debug, Clone, Copy)]
struct Heard {
    since: Option<Instant>,
    lines: u64,
}

static HEARD: Mutex<[[Heard; 2]; KINDS.len()]> =
    Mutex::new([[Heard { since: None, lines: 0 }; 2]; KINDS.len()]);

/// Says a line, unless enough of its kind were said just before.
pub(super) fn say(kind: Kind, by: By, line: impl FnOnce()) {
    let heard = &mut HEARD.lock().unwrap_or_else(PoisonError::into_inner)[kind as usize][by as usize];
    if heard.is_to_be_said(Instant::now()) {
        line();
    }
}

/// Says how many lines were left out, where that while is over. To be called now and then.
pub(super) fn sum_up() {
    let now = Instant::now();
    let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    for ((_, what), of_kind) in KINDS.iter().zip(&mut *heard) {
        for (by, of_some) in ["root and the manager's user", "other users"].iter().zip(of_kind) {
            if let Some(more) = of_some.over(now) {
                tracing::warn!(more, by, "{what}: more of the same in the last {} s", WHILE.as_secs());
            }
        }
    }
}

impl Heard {
    fn is_to_be_said(&mut self, now: Instant) -> bool {
        self.since.get_or_insert(now);
        self.lines += 1;
        self.lines <= SAID
    }

    /// Ends the while, if it is over; how many lines were left out.
    fn over(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now < since + WHILE) {
            return None;
        }
        let more = self.lines.saturating_sub(SAID);
        *self = Self { since: None, lines: 0 };
        (more > 0).then_some(more)
    }
}

/// What a client has called something, for a message or the log: not longer, and on one line.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 64;
    let mut shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_few_are_said_and_then_how_many_more() {
        let (mut heard, start) = (Heard { since: None, lines: 0 }, Instant::now());
        let said = (0..1000).filter(|_| heard.is_to_be_said(start)).count();
        assert_eq!((said as u64, heard.over(start + WHILE / 2)), (SAID, None));
        assert_eq!(heard.over(start + WHILE), Some(1000 - SAID));
        assert_eq!(heard.over(start + 2 * WHILE), None);
        assert!(heard.is_to_be_said(start + 2 * WHILE));
        assert_eq!(heard.over(start + 3 * WHILE), None, "nothing was left out");
    }

    #[test]
    fn names_stay_short_and_on_one_line() {
        assert_eq!(shown("sales"), "sales");
        assert_eq!(shown("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert_eq!(shown(&"x".repeat(100_000)).len(), 67);
    }

    #[test]
    fn kinds_stand_where_they_are_counted() {
        for (place, (kind, _)) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, place);
        }
    }
}
