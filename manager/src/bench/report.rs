//! The figures: a table for people, one JSON object for programs.

use super::Options;
use serde_json::{Map, Number, Value};
use std::fmt::{self, Display};

/// What was measured, in the order in which it was.
pub(crate) struct Report {
    options: Options,
    reader_pid: u32,
    figures: Vec<Figure>,
}

struct Figure {
    key: &'static str,
    what: &'static str,
    value: f64,
}

impl Report {
    pub(super) fn new(options: Options) -> Self {
        Self { options, reader_pid: 0, figures: Vec::new() }
    }

    /// Notes a figure; the end of its key is its unit.
    pub(super) fn note(&mut self, key: &'static str, what: &'static str, value: f64) {
        self.figures.push(Figure { key, what, value });
    }

    /// Which process read a table beside its owner.
    pub(super) fn note_reader(&mut self, pid: u32) {
        self.reader_pid = pid;
    }

    /// All of it, as one line.
    pub(crate) fn json(&self) -> String {
        let mut object = Map::new();
        for (key, number) in [
            ("entries", self.options.entries as u64),
            ("value_bytes", self.options.value_bytes as u64),
            ("reader_pid", u64::from(self.reader_pid)),
        ] {
            object.insert(key.to_owned(), number.into());
        }
        for Figure { key, value, .. } in &self.figures {
            let rounded = Number::from_f64((value * 100.0).round() / 100.0);
            object.insert((*key).to_owned(), rounded.map_or(Value::Null, Value::Number));
        }
        Value::Object(object).to_string()
    }
}

impl Figure {
    fn unit(&self) -> &'static str {
        match self.key.rsplit('_').next() {
            Some("ns") => "ns",
            Some("us") => "µs",
            Some("ms") => "ms",
            _ => "bytes",
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { entries, value_bytes } = self.options;
        writeln!(f, "{entries} entries, keys of 8 bytes, values of {value_bytes} bytes, one thread")?;
        writeln!(f, "the other process that reads is {}", self.reader_pid)?;
        for figure in &self.figures {
            write!(
                f,
                "\n{:<58}{:>10.*} {}",
                figure.what,
                decimals(figure.value),
                figure.value,
                figure.unit()
            )?;
        }
        Ok(())
    }
}

/// Three digits that count are enough.
fn decimals(value: f64) -> usize {
    match value {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_people_are_told_the_same() {
        let mut report = Report::new(Options { entries: 1000, value_bytes: 64 });
        report.note("set_get_ns", "set: get", 62.345);
        report.note("manager_restart_ms", "the manager's restart", 9.0);
        report.note_reader(7);
        let object: Map<String, Value> = serde_json::from_str(&report.json()).expect("it is JSON");
        assert_eq!((&object["entries"], &object["reader_pid"]), (&1000.into(), &7.into()));
        assert_eq!((&object["set_get_ns"], &object["manager_restart_ms"]), (&62.35.into(), &9.0.into()));
        let page = report.to_string();
        assert!(
            page.contains("62.3 ns") && page.contains("9.00 ms") && page.contains("process that reads is 7")
        );
    }
}
