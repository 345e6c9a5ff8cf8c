//! A comparison as a table: for a terminal, for a page, and for programs.

use crate::figures::{Column, Figures};
use crate::readers::{self, Readers};
use crate::stress::{Stress, Times};
use crate::subjects::Entrant;
use serde_json::{Value, json};
use std::fmt::Write;

/// Every subject's figures.
pub(crate) struct Report {
    pub(crate) entries: usize,
    pub(crate) passes: u64,
    pub(crate) rows: Vec<(Entrant, Figures)>,
    pub(crate) stress: Option<Stress>,
    pub(crate) readers: Option<Readers>,
}

impl Report {
    /// For a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n", self.about());
        for ordered in [false, true] {
            let mut lines = self.group(ordered).peekable();
            if lines.peek().is_none() {
                continue;
            }
            write!(text, "\n{:<44}", if ordered { "keys in their order" } else { "keys in no order" })
                .expect(MEMORY);
            Column::ALL.iter().for_each(|column| write!(text, "{:>19}", column.heading()).expect(MEMORY));
            text.push('\n');
            for (subject, figures) in lines {
                write!(text, "{:<44}", subject.title.replace('`', "")).expect(MEMORY);
                Column::ALL.iter().for_each(|column| {
                    write!(text, "{:>19}", self.cell(subject, figures, *column)).expect(MEMORY)
                });
                text.push('\n');
            }
        }
        for line in self.stress_lines().into_iter().chain(self.readers_line()) {
            write!(text, "\n{}", line.replace("**", "")).expect(MEMORY);
        }
        text + "\n"
    }

    /// For a page, as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut page = format!("# Heirloom beside its peers\n\n{}\n{MEANING}", self.about());
        for ordered in [false, true] {
            let mut lines = self.group(ordered).peekable();
            if lines.peek().is_none() {
                continue;
            }
            let heading = if ordered { "Keys in their order" } else { "Keys in no order" };
            write!(page, "\n## {heading}\n\n| |").expect(MEMORY);
            Column::ALL.iter().for_each(|column| write!(page, " {} |", column.heading()).expect(MEMORY));
            page += " what it guarantees |\n| --- |";
            page += &" ---: |".repeat(Column::ALL.len());
            page += " --- |\n";
            for (subject, figures) in lines {
                write!(page, "| {} |", subject.title).expect(MEMORY);
                for column in Column::ALL {
                    write!(page, " {} |", self.cell(subject, figures, column)).expect(MEMORY);
                }
                writeln!(page, " {} |", subject.guarantee()).expect(MEMORY);
            }
        }
        if self.stress.is_some() {
            page += "\n## The stress run\n\n";
            self.stress_lines().iter().for_each(|line| writeln!(page, "{line}").expect(MEMORY));
        }
        if let Some(line) = self.readers_line() {
            write!(page, "\n## Readers at once\n\n{line}\n").expect(MEMORY);
        }
        page
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let subjects = self.rows.iter().map(|(subject, figures)| {
            let figures = Column::ALL.map(|column| (column.key().to_owned(), json!(figures.get(column))));
            (subject.name.to_owned(), Value::Object(figures.into_iter().collect()))
        });
        let mut all = json!({
            "entries": self.entries,
            "passes": self.passes,
            "subjects": Value::Object(subjects.collect()),
        });
        if let Some(readers) = &self.readers {
            all["readers"] = json!({ "one_gets_per_us": readers.one(), "two_gets_per_us": readers.two() });
        }
        if let Some(stress) = &self.stress {
            let Times { heirloom, elixir } = stress.times();
            all["stress"] = json!({
                "sales": stress.sales(),
                "heirloom_ms": heirloom,
                "elixir_agent_ms": elixir.map(|[agent, _]| agent),
                "elixir_cast_ms": elixir.map(|[_, cast]| cast),
            });
        }
        all
    }

    fn about(&self) -> String {
        format!(
            "{} entries, keys of 8 bytes, values of 64, one thread; the median of {}, in nanoseconds.\n{}.",
            count(self.entries),
            if self.passes == 1 { "one pass".to_owned() } else { format!("{} passes", self.passes) },
            machine()
        )
    }

    fn group(&self, ordered: bool) -> impl Iterator<Item = &(Entrant, Figures)> {
        self.rows.iter().filter(move |(subject, _)| subject.ordered == ordered)
    }

    /// A figure, and how many times Heirloom's it is.
    fn cell(&self, subject: &Entrant, figures: &Figures, column: Column) -> String {
        let Some(figure) = figures.get(column) else { return "-".to_owned() };
        let ours = self.group(subject.ordered).find(|(other, _)| other.is_measure());
        match ours.and_then(|(_, ours)| ours.get(column)) {
            Some(ours) if !subject.is_measure() => format!("{figure:.0} ({})", times(figure / ours)),
            _ => format!("{figure:.0}"),
        }
    }

    fn readers_line(&self) -> Option<String> {
        let (one, two) = self.readers.as_ref().map(|readers| (readers.one(), readers.two()))?;
        Some(format!(
            "Two processes that read at once, while the owner makes {} commits a second: **{:.2} times** the gets of one \
             ({two:.1} and {one:.1} million a second).",
            count(readers::COMMITS_PER_SECOND as usize),
            two / one
        ))
    }

    fn stress_lines(&self) -> Vec<String> {
        let Some(stress) = &self.stress else { return Vec::new() };
        let Times { heirloom, elixir } = stress.times();
        let mut lines = vec![format!(
            "{} sales looked up in one table, and the half that is found counted in another:",
            count(stress.sales())
        )];
        lines.push(format!("- Heirloom, a commit for each count, safe from `kill -9`: **{heirloom:.0} ms**"));
        if let Some([agent, cast]) = elixir {
            for (how, time) in [("`Agent.update` for each", agent), ("`GenServer.cast` for each", cast)] {
                let ratio = time / heirloom;
                lines.push(format!(
                    "- Elixir, {how}, lost with its process: **{time:.0} ms**, {ratio:.1} times as long"
                ));
            }
        }
        lines
    }
}

const MEMORY: &str = "memory takes it";

/// What the columns are.
const MEANING: &str = "
In brackets: how many times Heirloom's figure it is. The time is that of the processor, except for Redis. Gets copy the value out. In Heirloom, each write is a commit of its own
and the scan is of a snapshot; a counter is read, added to and written in one operation. Subjects that read and write in
transactions have rows of their own for one each and for one around all of them. Memory is what the subject says that it
uses, or the file has; for maps it is what their process has grown by. `-`: it has no such operation, or it was not asked.
";

/// How many times as much, with as many digits as say something.
fn times(ratio: f64) -> String {
    match ratio {
        _ if ratio >= 10.0 => format!("{ratio:.0}x"),
        _ if ratio >= 1.0 => format!("{ratio:.1}x"),
        _ => format!("{ratio:.2}x"),
    }
}

/// A short form of a number: `45k`.
pub(crate) fn short(figure: f64) -> String {
    match figure {
        _ if figure >= 1e6 => format!("{:.0}M", figure / 1e6),
        _ if figure >= 1e4 => format!("{:.0}k", figure / 1e3),
        _ if figure >= 1e3 => format!("{:.1}k", figure / 1e3).replace(".0k", "k"),
        _ => format!("{figure:.0}"),
    }
}

/// A number with a comma after each three digits.
pub(crate) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The processors, and the kernel.
pub(crate) fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let number = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = rustix::system::uname();
    format!(
        "{number} processors ({}), Linux {}",
        model.map_or("of an unknown model", |(_, model)| model),
        kernel.release().to_string_lossy()
    )
}
