//! The stress run: each of a million sales is looked up in one table, and the half that is found there is counted, in
//! another table and one commit each, or in the heap of an Elixir process.
//!
//! Ours is what a worker does: with each count the commit holds the position in the stream, so that the heir of a worker that
//! is killed counts no sale twice and forgets none. Elixir's counts are lost with their process.

use crate::figures::middle;
use crate::sales::{self, Counts, Sale};
use crate::subjects::heirloom::Heirloom;
use crate::subjects::is_there;
use heirloom_protocol::table::Modify;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use tempfile::TempDir;

/// Its name in `--only`.
pub(crate) const NAME: &str = "stress";

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/stress.exs");

/// The limit of each table; there are twenty cars.
const MAX_BYTES: u64 = 16 << 20;

/// How long the run takes, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// In two tables of ours.
    pub(crate) heirloom: f64,
    /// In Elixir, counted by an `Agent` and by casts to a `GenServer`; none where there is no Elixir.
    pub(crate) elixir: Option<[f64; 2]>,
}

/// The runs so far.
pub(crate) struct Stress {
    folder: TempDir,
    sales: usize,
    has_elixir: bool,
    runs: Vec<Times>,
}

impl Stress {
    pub(crate) fn new(sales: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        sales::write(&file_in(folder.path()), sales).expect("the folder has room");
        let has_elixir = is_there("elixir");
        if !has_elixir {
            eprintln!("SKIPPED: the stress run in Elixir, since there is no elixir");
        }
        Self { folder, sales, has_elixir, runs: Vec::new() }
    }

    pub(crate) fn sales(&self) -> usize {
        self.sales
    }

    /// Both, one after the other.
    pub(crate) fn run(&mut self) {
        let (file, expected) = (file_in(self.folder.path()), sales::expected(self.sales));
        let heirloom = ours(&sales::read(&file).expect("the file is there"), &expected);
        let elixir = self.has_elixir.then(|| elixirs(&file, &expected));
        self.runs.push(Times { heirloom, elixir });
    }

    /// The median of each time.
    pub(crate) fn times(&self) -> Times {
        let median =
            |of: fn(&Times) -> Option<f64>| middle(&self.runs.iter().filter_map(of).collect::<Vec<_>>());
        Times {
            heirloom: median(|run| Some(run.heirloom)).expect("there is at least one pass"),
            elixir: median(|run| Some(run.elixir?[0]))
                .zip(median(|run| Some(run.elixir?[1])))
                .map(Into::into),
        }
    }
}

fn file_in(folder: &Path) -> PathBuf {
    folder.join("sales.csv")
}

fn ours(sales: &[Sale], expected: &Counts) -> f64 {
    let (mut exotic, mut counts) =
        (Heirloom::<false>::with_limit(MAX_BYTES), Heirloom::<false>::with_limit(MAX_BYTES));
    let mut key = Vec::new();
    for (year, make, models) in sales::exotic() {
        make_key(&mut key, year, make);
        exotic.writer.insert(&key, models.as_bytes()).expect("the table is large enough");
    }
    let (exotic, mut models) = (exotic.writer.reader(), Vec::new());
    let start = Instant::now();
    for (position, sale) in (1_u64..).zip(sales) {
        make_key(&mut key, sale.year, &sale.make);
        models.clear();
        let found = exotic.get_into(&key, &mut models).expect("the table is whole");
        if found && models.split(|byte| *byte == b'\n').any(|model| model == sale.model.as_bytes()) {
            key.push(b' ');
            key.extend_from_slice(sale.model.as_bytes());
            let mut transaction = counts.writer.transaction();
            transaction.add(&key, 1).expect("all values are counters");
            transaction.bequeath(&position.to_le_bytes()).expect("it is short");
            transaction.commit().expect("the table is large enough");
        }
    }
    let time = start.elapsed().as_secs_f64() * 1000.0;
    assert_eq!(&counted(&counts), expected, "every sale is counted once");
    time
}

/// `2022 Ferrari`: make and year as bytes. The key of a car goes on with the model.
fn make_key(key: &mut Vec<u8>, year: u16, make: &str) {
    key.clear();
    key.extend_from_slice(&year.to_be_bytes());
    key.extend_from_slice(make.as_bytes());
}

fn counted(table: &Heirloom<false>) -> Counts {
    let mut counts = Counts::new();
    let scanned = table.writer.reader().scan(&mut |key, value| {
        let (year, car) = key.split_at(2);
        let year = u16::from_be_bytes(year.try_into().expect("it was split at 2"));
        let count = u64::from_le_bytes(value.try_into().expect("it is a counter"));
        counts.insert(format!("{year} {}", String::from_utf8_lossy(car)), count);
        true
    });
    scanned.expect("the table is whole");
    counts
}

/// The times of both forms.
fn elixirs(file: &Path, expected: &Counts) -> [f64; 2] {
    let output = Command::new("elixir").arg(PROGRAM).arg(file).output().expect("elixir can be started");
    let (said, complaints) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "stress.exs ended with {}: {said}{complaints}", output.status);
    ["agent", "cast"].map(|form| {
        let counts =
            said.lines().filter_map(|line| line.strip_prefix(&format!("{form}: "))?.rsplit_once(' '));
        let counts: Counts =
            counts.map(|(car, count)| (car.to_owned(), count.parse().expect("it is a number"))).collect();
        assert_eq!(&counts, expected, "every sale is counted once");
        let time =
            said.lines().find_map(|line| line.strip_prefix(form)?.strip_prefix(' ')?.parse::<f64>().ok());
        time.expect("it says how long it took") / 1000.0
    })
}
