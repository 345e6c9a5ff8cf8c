//! Whether each kill was one: what the supervisor, the parent of the owners, says about their end.

use heirloom_protocol::message::ChildStatus;
use std::collections::BTreeSet;

/// The owners that were killed, and what their parent, the supervisor, says about their end.
#[derive(Default)]
pub(super) struct Victims {
    all: BTreeSet<u32>,
    killed: BTreeSet<u32>,
    /// The last one, with its entry in the supervisor's report before it died.
    expected: Option<(u32, ChildStatus)>,
}

impl Victims {
    /// That process is about to be killed.
    pub(super) fn expect(&mut self, pid: u32, children: &[ChildStatus]) {
        self.all.insert(pid);
        self.expected =
            children.iter().find(|child| child.pid == Some(pid)).map(|child| (pid, child.clone()));
    }

    /// Looks whether the supervisor has seen it end, and how.
    pub(super) fn look_at(&mut self, children: &[ChildStatus]) {
        let Some((pid, before)) = &self.expected else { return };
        let now =
            children.iter().find(|child| (&child.name, child.instance) == (&before.name, before.instance));
        let Some(now) = now.filter(|now| now.pid != Some(*pid)) else { return };
        if now.last_exit.as_deref().is_some_and(|how| how == "killed by signal 9") {
            self.killed.insert(*pid);
            self.expected = None;
        }
    }

    /// Whether that process has been killed here.
    pub(super) fn include(&self, pid: u32) -> bool {
        self.all.contains(&pid)
    }

    /// How many distinct processes ended by SIGKILL.
    pub(super) fn confirmed(&self) -> u64 {
        self.killed.len() as u64
    }

    /// Whether the end of each one is known by now.
    pub(super) fn all_confirmed(&self) -> bool {
        self.expected.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(instance: u32, pid: Option<u32>, last_exit: Option<&str>) -> ChildStatus {
        let last_exit = last_exit.map(str::to_owned);
        ChildStatus { name: "w".into(), instance, pid, last_exit, ..ChildStatus::default() }
    }

    #[test]
    fn a_kill_counts_when_the_parent_has_seen_it() {
        let mut victims = Victims::default();
        victims.expect(7, &[child(1, Some(7), None), child(2, Some(8), None)]);
        victims.look_at(&[child(1, Some(7), None), child(2, Some(8), None)]);
        assert!(!victims.all_confirmed(), "it is still shown as running");
        victims.look_at(&[child(1, None, Some("killed by signal 9")), child(2, Some(8), None)]);
        assert!(victims.all_confirmed());
        assert_eq!(victims.confirmed(), 1);
    }

    #[test]
    fn another_end_is_no_kill() {
        let mut victims = Victims::default();
        victims.expect(7, &[child(1, Some(7), Some("killed by signal 9"))]);
        for how in ["exit status 1", "killed by signal 15", "killed by signal 90"] {
            victims.look_at(&[child(1, Some(9), Some(how))]);
        }
        assert!(!victims.all_confirmed());
        assert_eq!(victims.confirmed(), 0);
    }
}
