//! Heirloom beside its peers: the same keys and values, in the same order, in one run on one machine.
//!
//! ```text
//! cargo bench -p heirloom-tests --bench compare                             1,000,000 entries, some minutes
//! cargo bench -p heirloom-tests --bench compare -- --entries 100000 --only heirloom-set,papaya,ets
//! cargo bench -p heirloom-tests --bench compare -- --markdown compare.md --svg compare.svg
//! cargo bench -p heirloom-tests --bench compare -- --curve --markdown curve.md --svg curve.svg
//! ```
//!
//! Random keys of 8 bytes, values of 64. Each step of each pass takes the keys in a random order of its own; what is read
//! is copied out, its words are added up, and the sum is compared with that of what was written. All subjects take turns,
//! pass by pass, so that whatever else the machine does meets them alike; each turn is a process of its own. Each figure is
//! the median over the passes, and the ratio beside it is to Heirloom's: that is what counts, not the nanoseconds.
//! A subject's time is that of its processor, which other programs take nothing of; for Redis, and for both stress runs, it
//! is that of the wall, since they wait for other processes.
//! Whose program this machine does not have is skipped, and that is said.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `work` | the keys, their order, the values, the clock |
//! | `turn` | what a subject does in one pass |
//! | `subjects` | who takes part, and what each guarantees |
//! | `elsewhere` | reading from another process |
//! | `readers` | reading from two at once |
//! | `stress`, `sales` | the stress run: a million sale events, here and in Elixir |
//! | `figures`, `report` | medians, ratios, tables |
//! | `curve` | the same from 1,000 entries to 10,000,000 |
//! | `bars`, `lines`, `svg` | charts |
//!
//! Run as a test, it compares a handful of entries, to see that it works.

mod bars;
mod curve;
mod elsewhere;
mod figures;
mod lines;
mod readers;
mod report;
mod sales;
mod stress;
mod subjects;
mod svg;
mod turn;
mod work;

use clap::Parser;
use figures::Figures;
use readers::Readers;
use report::Report;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};
use subjects::Entrant;
use work::Work;

/// Heirloom beside its peers.
#[derive(Debug, Parser)]
struct Options {
    /// Entries of each table; with --curve, of the largest [default: 1000000, with --curve 10000000]
    #[arg(long)]
    entries: Option<usize>,
    /// How often each figure is taken; the median counts [default: 5, with --curve 3]
    #[arg(long)]
    passes: Option<u64>,
    /// Only these subjects, by their names (a wrong one names all of them); `stress` is the stress run, `readers` reads from
    /// two processes at once
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Measures how get, overwrite and memory grow with the number of entries
    #[arg(long)]
    curve: bool,
    /// Writes a table to this file
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Writes a chart to this file
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Prints one JSON object instead of a table
    #[arg(long)]
    json: bool,

    /// Cargo says so where this is to measure, and not to be a test.
    #[arg(long, hide = true)]
    bench: bool,
    /// The turn of the subject of that name, in a process of its own.
    #[arg(long, hide = true)]
    turn: Option<String>,
    /// Which pass the turn is in.
    #[arg(long, hide = true, default_value_t = 0)]
    pass: u64,
    /// Reads the table in that segment.
    #[arg(long, hide = true)]
    read: Option<PathBuf>,
    /// The same, when a line comes.
    #[arg(long, hide = true)]
    read_when_told: Option<PathBuf>,
}

/// What `--only` names beside the subjects.
const NOT_SUBJECTS: [&str; 2] = [stress::NAME, readers::NAME];

/// Entries of a test.
const HANDFUL: usize = 500;

fn main() {
    let options = Options::parse();
    let entries = |usual| options.entries.unwrap_or(if options.bench { usual } else { HANDFUL }).max(1);
    let passes = |usual| options.passes.unwrap_or(if options.bench { usual } else { 1 }).max(1);
    let work = || Work::new(entries(0), options.pass);
    if let Some(name) = &options.turn {
        println!("{}", json(&(find(name).turn)(&work())));
    } else if let Some(segment) = &options.read {
        println!("{}", json(&elsewhere::read(segment, &work())));
    } else if let Some(segment) = &options.read_when_told {
        readers::read_when_told(segment, &work());
    } else if options.curve {
        let curve = curve::measure(entries(10_000_000), passes(3));
        show(&options, &curve.text(), &curve.json(), &curve.markdown(), &lines::chart(&curve));
    } else {
        let report = measure(&options, entries(1_000_000), passes(5));
        show(&options, &report.text(), &report.json(), &report.markdown(), &bars::chart(&report));
    }
}

fn measure(options: &Options, entries: usize, passes: u64) -> Report {
    let is_asked = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    for name in options.only.iter().filter(|name| !NOT_SUBJECTS.contains(&name.as_str())) {
        find(name);
    }
    let here = subjects::ALL.into_iter().filter(|subject| is_asked(subject.name) && is_here(subject));
    let mut rows: Vec<(Entrant, Vec<Figures>)> = here.map(|subject| (subject, Vec::new())).collect();
    let mut stress =
        is_asked(stress::NAME).then(|| stress::Stress::new(if options.bench { 1_000_000 } else { 1000 }));
    let mut readers = is_asked(readers::NAME).then(Readers::default);
    for pass in 0..passes {
        for (subject, figures) in &mut rows {
            progress(&format!("pass {} of {passes}: {}", pass + 1, subject.name));
            figures.push(turn(subject, entries, pass));
        }
        if let Some(stress) = &mut stress {
            stress.run();
        }
        if let Some(readers) = &mut readers {
            readers.run(&Work::new(entries, pass));
        }
    }
    progress("");
    let rows = rows.into_iter().map(|(subject, figures)| (subject, Figures::median(&figures))).collect();
    Report { entries, passes, rows, stress, readers }
}

/// Shows where it is, on a terminal.
fn progress(at: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r{at:<60}\r");
    }
}

/// Whether this machine has what the subject needs; says so where not.
fn is_here(subject: &Entrant) -> bool {
    subject
        .misses()
        .inspect(|missed| eprintln!("SKIPPED: {}, since there is no {missed}", subject.title))
        .is_none()
}

/// The turn of a subject, in a process of its own.
fn turn(subject: &Entrant, entries: usize, pass: u64) -> Figures {
    let output = Command::new(env::current_exe().expect("this program has a path"))
        .args(["--turn", subject.name, "--entries", &entries.to_string(), "--pass", &pass.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .expect("this program can be started again");
    assert!(output.status.success(), "the turn of {} ended with {}", subject.name, output.status);
    serde_json::from_slice(&output.stdout).expect("it says figures")
}

fn find(name: &str) -> Entrant {
    subjects::ALL.into_iter().find(|subject| subject.name == name).unwrap_or_else(|| {
        let names: Vec<_> = subjects::ALL.iter().map(|subject| subject.name).collect();
        eprintln!("there is no `{name}`; there are {}, {}", names.join(", "), NOT_SUBJECTS.join(", "));
        std::process::exit(2)
    })
}

fn json(figures: &Figures) -> String {
    serde_json::to_string(figures).expect("numbers can be written")
}

fn show(options: &Options, text: &str, json: &serde_json::Value, markdown: &str, svg: &str) {
    if options.json {
        println!("{json}");
    } else {
        print!("{text}");
    }
    for (file, content) in [(&options.markdown, markdown), (&options.svg, svg)] {
        if let Some(file) = file {
            write(file, content);
        }
    }
}

/// Cargo runs this in the folder of the crate; a path is meant from where the user is.
fn write(file: &Path, content: &str) {
    let from = env::var_os("PWD").map(PathBuf::from).unwrap_or_default();
    let file = from.join(file);
    if let Err(error) = fs::write(&file, content) {
        eprintln!("{}: {error}", file.display());
        std::process::exit(1);
    }
}
