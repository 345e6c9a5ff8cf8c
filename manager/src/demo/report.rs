//! How the demonstration went: one JSON object for programs, a page for people, and a verdict.

use super::account::{Account, Found};
use super::notes::Reads;
use super::picture::{Quantiles, histogram, ms};
use serde::Serialize;
use serde_json::Number;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// One kill of the owner and what became of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kill {
    /// The owner that was killed.
    pub(super) victim: u32,
    /// The owner after it.
    pub(super) heir: u32,
    /// The manager that was killed with it.
    pub(super) manager: Option<u32>,
    /// How many events were counted for good when the heir took over.
    pub(super) position: u64,
    /// Whether recovery found a commit in flight or a log being written.
    pub(super) mid_commit: bool,
    /// From directly before the kill to directly after the heir's first commit.
    pub(super) handoff_us: u64,
    /// The stages of it, in order, each with the time that it took.
    pub(super) stages_us: Vec<(&'static str, u64)>,
}

/// Everything that is told at the end.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    events: u64,
    kills: u64,
    kills_mid_commit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    manager_kills: u64,
    lost: u64,
    double_counted: u64,
    torn_reads: u64,
    failed_reads: u64,
    reads: u64,
    reads_while_ownerless: u64,
    handoff_us: Quantiles,
    counts: BTreeMap<String, u64>,
    averages: BTreeMap<String, Number>,
    commits: u64,
    elapsed_ms: f64,
    #[serde(skip)]
    kills_wanted: u64,
    #[serde(skip)]
    story: Vec<Kill>,
}

/// What a report is made of.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) events: u64,
    pub(super) kills_wanted: u64,
    /// Distinct processes whose wait status was SIGKILL.
    pub(super) killed: u64,
    pub(super) kills: Vec<Kill>,
    pub(super) account: Account,
    pub(super) found: Found,
    pub(super) reads: Reads,
    pub(super) elapsed: Duration,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "that is how serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Report {
    pub(super) fn new(material: Material) -> Self {
        let Material { events, kills_wanted, killed, kills, account, found, reads, elapsed } = material;
        let times: Vec<u64> = kills.iter().map(|kill| kill.handoff_us).collect();
        Self {
            events,
            kills: killed,
            kills_mid_commit: kills.iter().filter(|kill| kill.mid_commit).count() as u64,
            manager_kills: kills.iter().filter(|kill| kill.manager.is_some()).count() as u64,
            lost: account.lost,
            double_counted: account.double_counted,
            torn_reads: reads.torn + account.torn,
            failed_reads: reads.failed,
            reads: reads.reads,
            reads_while_ownerless: reads.ownerless,
            handoff_us: Quantiles::of(&times),
            counts: found.totals.iter().map(|(car, total)| (car.to_string(), total.count)).collect(),
            averages: found
                .totals
                .iter()
                .filter_map(|(car, total)| Some((car.to_string(), number(total.average())?)))
                .collect(),
            commits: found.totals.values().map(|total| total.count).sum(),
            elapsed_ms: (elapsed.as_secs_f64() * 10_000.0).round() / 10.0,
            kills_wanted,
            story: kills,
        }
    }

    /// What went wrong, in words; `None` when nothing did.
    pub(super) fn failure(&self) -> Option<String> {
        let wrong = [
            (self.lost, "commits or events lost"),
            (self.double_counted, "events counted twice"),
            (self.torn_reads, "values torn"),
            (self.failed_reads, "reads failed"),
            (self.kills_wanted.saturating_sub(self.kills), "kills without a confirmed death by SIGKILL"),
        ];
        let wrong: Vec<String> = wrong
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| format!("{number} {what}"))
            .collect();
        (!wrong.is_empty()).then(|| wrong.join(", "))
    }

    /// The report as one line of JSON.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers and strings are always JSON")
    }

    /// The report as a page for people.
    pub(super) fn page(&self) -> String {
        let mut page = String::new();
        self.write_kills(&mut page);
        self.write_sales(&mut page);
        let ownerless = self.reads_while_ownerless;
        let _ = writeln!(
            page,
            "{} events, {} commits, {} kills ({} in the middle of a commit) in {:.2} s",
            self.events,
            self.commits,
            self.kills,
            self.kills_mid_commit,
            self.elapsed_ms / 1000.0
        );
        if self.manager_kills > 0 {
            let _ = writeln!(page, "{} managers killed with them", self.manager_kills);
        }
        let _ =
            writeln!(page, "{} reads from another process, {ownerless} of them without an owner", self.reads);
        let _ = match self.failure() {
            None => writeln!(page, "nothing lost, nothing torn, nothing counted twice"),
            Some(failure) => writeln!(page, "FAILED: {failure}"),
        };
        page.truncate(page.trim_end().len());
        page
    }

    fn write_kills(&self, page: &mut String) {
        if self.story.is_empty() {
            return;
        }
        let _ = writeln!(page, "kill   owner    heir      at event  mid-commit   handoff");
        for (index, kill) in (1..).zip(&self.story) {
            let mid_commit = if kill.mid_commit { "yes" } else { "" };
            let Kill { victim, heir, position, handoff_us, .. } = kill;
            let handoff = ms(*handoff_us);
            let _ = writeln!(
                page,
                "{index:>4} {victim:>7} {heir:>7} {position:>13}  {mid_commit:<10} {handoff:>9}"
            );
        }
        let times: Vec<u64> = self.story.iter().map(|kill| kill.handoff_us).collect();
        let _ = writeln!(page, "\nfrom kill(2) to the heir's first commit\n{}", histogram(&times));
        if let Quantiles { p50: Some(p50), p99: Some(p99), max: Some(max) } = self.handoff_us {
            let _ = writeln!(
                page,
                "  half within {}, 99 of 100 within {}, the longest {}; half of each stage within",
                ms(p50),
                ms(p99),
                ms(max)
            );
        }
        self.write_stages(page);
    }

    /// Where the time of a usual handoff goes.
    fn write_stages(&self, page: &mut String) {
        let stages = self.story.first().map(|kill| kill.stages_us.as_slice()).unwrap_or_default();
        for (index, (stage, _)) in stages.iter().enumerate() {
            let times: Vec<u64> =
                self.story.iter().filter_map(|kill| Some(kill.stages_us.get(index)?.1)).collect();
            let _ = writeln!(page, "  {stage:<20} {:>8}", ms(Quantiles::of(&times).p50.unwrap_or_default()));
        }
        if !stages.is_empty() {
            page.push('\n');
        }
    }

    fn write_sales(&self, page: &mut String) {
        let _ = writeln!(page, "{:<32} {:>10} {:>14}", "exotic car", "sold", "average price");
        for (car, count) in &self.counts {
            let average = self.averages.get(car).and_then(Number::as_f64).unwrap_or_default();
            let _ = writeln!(page, "{car:<32} {count:>10} {average:>14.2}");
        }
        page.push('\n');
    }
}

/// A JSON number without a fraction where it has none.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
fn number(value: f64) -> Option<Number> {
    let whole = value.round() as u64;
    if (whole as f64 - value).abs() < 1e-9 * value.abs().max(1.0) {
        return Some(whole.into());
    }
    Number::from_f64(value)
}

#[cfg(test)]
mod tests {
    use super::super::cars::{Car, Total};
    use super::*;

    fn report(account: Account, failed: u64) -> Report {
        let car = Car::new(2022, "Ferrari", "488");
        let total = Total::default().and(45_000_000, car.stamp()).and(49_260_000, car.stamp());
        let found = Found { totals: [(car, total)].into(), version: 2, position: 10 };
        let kill = |victim, handoff_us| Kill {
            victim,
            heir: victim + 1,
            position: 5,
            manager: None,
            mid_commit: victim == 1,
            handoff_us,
            stages_us: vec![("notice", handoff_us)],
        };
        Report::new(Material {
            events: 10,
            kills_wanted: 2,
            killed: 2,
            kills: vec![kill(1, 400), kill(2, 700)],
            account,
            found,
            reads: Reads { reads: 9, failed, ownerless: 3, torn: 0 },
            elapsed: Duration::from_micros(12_345),
        })
    }

    #[test]
    fn the_json_object_has_all_its_fields() {
        let expected = r#"{"events":10,"kills":2,"kills_mid_commit":1,"lost":0,"double_counted":0,"torn_reads":0,"failed_reads":0,"reads":9,"reads_while_ownerless":3,"handoff_us":{"p50":400,"p99":700,"max":700},"counts":{"2022 Ferrari 488":2},"averages":{"2022 Ferrari 488":471300},"commits":2,"elapsed_ms":12.3}"#;
        assert_eq!(report(Account::default(), 0).json(), expected);
        assert_eq!(report(Account::default(), 0).failure(), None);
    }

    #[test]
    fn the_page_shows_kills_times_stages_and_the_verdict() {
        let page = report(Account::default(), 0).page();
        for part in ["1       2", "yes", "0.40 ms", "notice", "2022 Ferrari 488", "471300.00", "nothing lost"]
        {
            assert!(page.contains(part), "{part} is missing in:\n{page}");
        }
        let failed = report(Account { lost: 1, ..Account::default() }, 0).page();
        assert!(
            failed.contains("FAILED: 1 commits or events lost") && !failed.contains("nothing lost"),
            "{failed}"
        );
    }

    #[test]
    fn each_thing_that_went_wrong_is_a_failure() {
        let failure = |account, failed| report(account, failed).failure().expect("this failed");
        assert_eq!(failure(Account { lost: 2, ..Account::default() }, 0), "2 commits or events lost");
        assert_eq!(failure(Account { double_counted: 1, ..Account::default() }, 0), "1 events counted twice");
        assert_eq!(failure(Account { torn: 1, ..Account::default() }, 3), "1 values torn, 3 reads failed");
        let unconfirmed = Report { kills: 1, ..report(Account::default(), 0) };
        assert!(unconfirmed.failure().expect("this failed").contains("1 kills"));
    }

    #[test]
    fn averages_are_whole_numbers_where_they_are_whole() {
        assert_eq!(number(471_300.0).expect("finite").to_string(), "471300");
        assert_eq!(number(0.5).expect("finite").to_string(), "0.5");
        assert_eq!(number(f64::NAN), None);
    }
}
