//! ETS, in an Erlang virtual machine of its own: `ets.escript` does what the other subjects do, with the same keys.

use crate::figures::{Column, Figures};
use crate::turn::per_entry;
use crate::work::{Step, Work, bytes_of};
use std::path::Path;
use std::process::Command;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/ets.escript");

/// The steps, in the order in which the program takes their keys and stamps.
const STEPS: [Step; 5] = [Step::Insert, Step::Get, Step::Overwrite, Step::Remove, Step::Count];

/// One turn of a table of that type.
pub(crate) fn turn<const ORDERED: bool>(work: &Work) -> Figures {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut words = vec![if ORDERED { "ordered_set" } else { "set" }.to_owned()];
    for step in STEPS {
        let file = folder.path().join(format!("{step:?}"));
        write_keys(&file, &work.order(step, 0));
        words.extend([file.display().to_string(), work.stamp(step).to_string()]);
    }
    let output = Command::new("escript").arg(PROGRAM).args(words).output().expect("escript can be started");
    let (said, complaints) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "ets.escript ended with {}: {said}{complaints}", output.status);
    figures(&said, work)
}

fn write_keys(file: &Path, keys: &[u64]) {
    let bytes: Vec<u8> = keys.iter().flat_map(|key| bytes_of(*key)).collect();
    std::fs::write(file, bytes).expect("the folder has room");
}

/// From its lines, each a name and a number.
fn figures(said: &str, work: &Work) -> Figures {
    let number = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)).expect("it says all of them");
        line.trim().parse::<u64>().expect("it is a number")
    };
    let sum_of = |step| work.writes(&work.order(step, 0), step).sum();
    assert_eq!(number("inserted_sum"), sum_of(Step::Insert), "the values are those of the other subjects");
    assert_eq!(
        number("overwritten_sum"),
        sum_of(Step::Overwrite),
        "the values are those of the other subjects"
    );
    let mut figures = Figures::default();
    for (name, column) in [
        ("insert_total_ns", Column::Insert),
        ("get_total_ns", Column::Get),
        ("overwrite_total_ns", Column::Overwrite),
        ("scan_total_ns", Column::Scan),
        ("remove_total_ns", Column::Remove),
        ("count_total_ns", Column::Count),
        ("total_bytes", Column::Bytes),
    ] {
        figures.note(column, per_entry(number(name), work));
    }
    figures
}
