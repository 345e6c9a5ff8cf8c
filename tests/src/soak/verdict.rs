//! What came of it: one object, and whether anything in it must not be there.

use serde_json::{Value, json};

/// All that was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) seed: u64,
    /// Of the worker, the manager, and both.
    pub(super) kills: [u64; 3],
    /// Of readers, besides.
    pub(super) readers_killed: u64,
    /// Kills that found a commit in flight, and those of these that had been made by then.
    pub(super) in_flight: [u64; 2],
    pub(super) commits: u64,
    /// Writes for which a table had no room, which changed nothing.
    pub(super) table_full: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    /// Commits of which only a part was there.
    pub(super) half: u64,
    pub(super) reads: u64,
    /// Reads that were compared with all that must be there.
    pub(super) compared: u64,
    pub(super) torn_reads: u64,
    pub(super) failed_reads: u64,
    /// How often watches were told that they had been overtaken.
    pub(super) overtaken: u64,
    /// Watches whose copy was not the table in the end.
    pub(super) unequal_watches: u64,
    /// Pins that nobody has, and nobody gave back.
    pub(super) leaked_pins: u64,
    /// Blocks that have no use and are not free, by the account of `verify`.
    pub(super) leaked_blocks: u64,
    /// Entries that were read from disk, and compared, after everything was killed in the end.
    pub(super) hydrated: u64,
    /// What `verify` found wrong, by table.
    pub(super) corrupt: Vec<String>,
    /// From the kill of an owner to the first commit of the heir, in microseconds.
    pub(super) handoff_us: Vec<u64>,
    /// The same where the manager was killed with it.
    pub(super) handoff_both_us: Vec<u64>,
    /// From the kill of the manager until the next one has every owner back, in microseconds.
    pub(super) readopt_us: Vec<u64>,
    pub(super) elapsed_ms: u64,
}

impl Verdict {
    /// What must not be, in words; nothing where all is well.
    pub(super) fn failure(&self) -> Option<String> {
        let none: [(&str, u64); 9] = [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("half of a commit", self.half),
            ("torn reads", self.torn_reads),
            ("failed reads", self.failed_reads),
            ("watches that differ", self.unequal_watches),
            ("leaked pins", self.leaked_pins),
            ("leaked blocks", self.leaked_blocks),
            ("corrupt tables", self.corrupt.len() as u64),
        ];
        let some: Vec<String> = none
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{what}: {count}"))
            .collect();
        (!some.is_empty()).then(|| some.join(", "))
    }

    /// A page for people.
    pub(super) fn page(&self) -> String {
        let [worker, manager, both] = self.kills;
        let line = |what: &str, times: &[u64]| {
            let ms = |at: f64| quantile(times, at).unwrap_or(0) as f64 / 1000.0;
            format!("{what:<44}{:>9.2} {:>9.2} {:>9.2}", ms(0.5), ms(0.99), ms(1.0))
        };
        [
            format!(
                "{} kills ({worker} of owners, {manager} of the manager, {both} of both), {} commits, {} reads in {:.1} s",
                worker + manager + both,
                self.commits,
                self.reads,
                self.elapsed_ms as f64 / 1000.0
            ),
            format!("{:<44}{:>9} {:>9} {:>9}", "milliseconds", "median", "p99", "worst"),
            line("from an owner's kill to its heir's commit", &self.handoff_us),
            line("the same, the manager killed too", &self.handoff_both_us),
            line("from a manager's kill to all owners known", &self.readopt_us),
            self.failure().unwrap_or_else(|| "nothing lost, nothing twice, nothing torn, nothing held for ever".into()),
        ]
        .join("\n")
    }

    /// One line of JSON.
    pub(super) fn json(&self) -> String {
        let [worker, manager, both] = self.kills;
        let [in_flight, made] = self.in_flight;
        json!({
            "kills": { "worker": worker, "manager": manager, "both": both },
            "readers_killed": self.readers_killed,
            "in_flight": { "found": in_flight, "made": made },
            "commits": self.commits,
            "table_full": self.table_full,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "half_commits": self.half,
            "reads": self.reads,
            "compared": self.compared,
            "torn_reads": self.torn_reads,
            "failed_reads": self.failed_reads,
            "overtaken": self.overtaken,
            "unequal_watches": self.unequal_watches,
            "hydrated": self.hydrated,
            "leaked_pins": self.leaked_pins,
            "leaked_blocks": self.leaked_blocks,
            "corrupt": self.corrupt,
            "handoff_us": quantiles(&self.handoff_us),
            "handoff_both_us": quantiles(&self.handoff_both_us),
            "readopt_us": quantiles(&self.readopt_us),
            "elapsed_ms": self.elapsed_ms,
            "seed": self.seed,
        })
        .to_string()
    }
}

fn quantiles(times: &[u64]) -> Value {
    let [median, p99, worst] = [0.5, 0.99, 1.0].map(|part| quantile(times, part));
    json!({ "median": median, "p99": p99, "worst": worst })
}

/// The time that so large a part of them does not exceed.
fn quantile(times: &[u64], part: f64) -> Option<u64> {
    let mut times = times.to_vec();
    times.sort_unstable();
    let rank = (times.len() as f64 * part).ceil() as usize;
    times.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_wrong_is_a_failure() {
        let fine = Verdict { commits: 10, reads: 5, table_full: 3, overtaken: 2, ..Verdict::default() };
        assert_eq!(fine.failure(), None);
        for (word, wrong) in [
            ("lost", Verdict { lost: 1, ..fine.clone() }),
            ("duplicated", Verdict { duplicated: 1, ..fine.clone() }),
            ("half of a commit", Verdict { half: 1, ..fine.clone() }),
            ("torn reads", Verdict { torn_reads: 1, ..fine.clone() }),
            ("failed reads", Verdict { failed_reads: 1, ..fine.clone() }),
            ("watches that differ", Verdict { unequal_watches: 1, ..fine.clone() }),
            ("leaked pins", Verdict { leaked_pins: 1, ..fine.clone() }),
            ("leaked blocks", Verdict { leaked_blocks: 1, ..fine.clone() }),
            ("corrupt tables", Verdict { corrupt: vec!["set".into()], ..fine.clone() }),
        ] {
            assert_eq!(wrong.failure(), Some(format!("{word}: 1")));
        }
    }

    #[test]
    fn the_object_has_quantiles() {
        let verdict = Verdict { handoff_us: (1..=100).rev().collect(), ..Verdict::default() };
        let object: Value = serde_json::from_str(&verdict.json()).expect("it is JSON");
        assert_eq!(object["handoff_us"], json!({ "median": 50, "p99": 99, "worst": 100 }));
        assert_eq!(object["readopt_us"]["median"], Value::Null);
    }
}
