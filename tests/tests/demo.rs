//! The demonstration itself, small, and against an independent script.

use heirloom_tests::program;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn demo(words: &[&str]) -> Output {
    Command::new(program("heirloom-under-test"))
        .arg("demo")
        .args(words)
        .env_remove("HEIRLOOM_SOCKET")
        .output()
        .expect("the program can be started")
}

/// The result of a demonstration that found nothing wrong.
fn result(output: &Output) -> Value {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {told}", output.status);
    let text = std::str::from_utf8(&output.stdout).expect("JSON is UTF-8");
    assert_eq!(
        text.lines().count(),
        1,
        "with --json there is JSON on standard output and nothing else: {text}"
    );
    let result: Value = serde_json::from_str(text).expect("it is JSON");
    for wrong in ["lost", "double_counted", "torn_reads", "failed_reads"] {
        assert_eq!(result[wrong], 0, "{wrong}: {result}\n{told}");
    }
    result
}

#[test]
fn nothing_is_lost_torn_or_counted_twice() {
    let result = result(&demo(&["--events", "100000", "--kills", "10", "--seed", "1", "--json"]));
    assert_eq!(
        (&result["events"], &result["commits"], &result["kills"]),
        (&json!(100_000), &json!(50_000), &json!(10))
    );
    let sold =
        json!({"2022 Ferrari 488": 20000, "2022 Pagani Zonda": 10000, "2023 Lamborghini Huracan": 20000});
    assert_eq!(result["counts"], sold);
    let averages = json!({"2022 Ferrari 488": 471_300, "2022 Pagani Zonda": 4_181_000, "2023 Lamborghini Huracan": 336_750});
    assert_eq!(result["averages"], averages);
    assert!(result["reads"].as_u64() > Some(0), "{result}");
    assert!(result["handoff_us"]["p50"].as_u64() > Some(0), "{result}");
}

/// On a busy machine the reader may not have had a turn within ten handoffs of a millisecond: then there are ten more.
#[test]
fn the_table_is_read_while_nobody_owns_it() {
    let read_meanwhile = (0..20).any(|seed| {
        let seed = format!("{seed}");
        let result = result(&demo(&["--events", "100000", "--kills", "10", "--seed", &seed, "--json"]));
        result["reads_while_ownerless"].as_u64() > Some(0)
    });
    assert!(read_meanwhile, "in none of 200 handoffs");
}

/// Counts the exotic cars of a file, knowing nothing of Heirloom.
const SCRIPT: &str = r"
import csv, json, sys
models = {'Bugatti': ['Chiron', 'Veyron'], 'Ferrari': ['488', 'F90'], 'Lamborghini': ['Aventador', 'Huracan'],
          'Pagani': ['Hyuara', 'Zonda'], 'Porsche': ['918 Spyder', '911 GT3 RS']}
counts, sums = {}, {}
for year, make, model, price in csv.reader(open(sys.argv[1])):
    if year in ('2022', '2023') and model in models.get(make, []):
        car = f'{year} {make} {model}'
        counts[car] = counts.get(car, 0) + 1
        sums[car] = sums.get(car, 0) + int(price)
print(json.dumps({'counts': counts, 'sums': sums}))
";

#[test]
fn random_sales_are_counted_as_an_independent_script_counts_them() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("sales.csv");
    write_random_sales(&file, 20_000);
    let Ok(script) = Command::new("python3").arg("-c").arg(SCRIPT).arg(&file).output() else {
        eprintln!("SKIPPED: there is no python3 to count the sales independently");
        return;
    };
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    let expected: Value = serde_json::from_slice(&script.stdout).expect("the script prints JSON");
    let file = file.to_str().expect("a temporary path is UTF-8");
    let result = result(&demo(&["--events-file", file, "--kills", "5", "--json"]));
    assert_eq!(result["counts"], expected["counts"]);
    assert_eq!(result["counts"].as_object().map(serde_json::Map::len), Some(20), "every exotic car was sold");
    for (car, sum) in expected["sums"].as_object().expect("sums are an object") {
        let (count, average) = (result["counts"][car].as_f64(), result["averages"][car].as_f64());
        let counted = count.zip(average).map(|(count, average)| (count * average).round());
        assert_eq!(counted, sum.as_f64(), "sum of {car}");
    }
}

fn write_random_sales(file: &Path, sales: usize) {
    const CARS: [(&str, &[&str]); 7] = [
        ("Bugatti", &["Chiron", "Veyron", "Type 35"]),
        ("Ferrari", &["488", "F90", "Testarossa"]),
        ("Lamborghini", &["Aventador", "Huracan"]),
        ("Pagani", &["Hyuara", "Zonda"]),
        ("Porsche", &["918 Spyder", "911 GT3 RS", "Cayenne"]),
        ("Honda", &["Accord", "488"]),
        ("Chevy", &["Camaro"]),
    ];
    let mut rng = StdRng::seed_from_u64(7);
    let mut text = String::new();
    for _ in 0..sales {
        let (make, models) = CARS[rng.random_range(0..CARS.len())];
        let model = models[rng.random_range(0..models.len())];
        let (year, price) = (rng.random_range(2020..2025), rng.random_range(10_000..5_000_000));
        writeln!(text, "{year},{make},{model},{price}").expect("strings can be written to");
    }
    fs::write(file, text).expect("the file can be written");
}

#[test]
fn every_bad_line_of_an_events_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("sales.csv");
    fs::write(&file, "2022,Ferrari,488,450000\nnonsense\n\n2022,Ferrari,488,much\n")
        .expect("it can be written");
    let output = demo(&["--events-file", file.to_str().expect("a temporary path is UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("sales.csv:2: 1 fields instead of 4"), "{told}");
    assert!(told.contains("sales.csv:4: price \"much\""), "{told}");
}

#[test]
fn wrong_usage_is_status_2_and_impossible_wishes_are_status_1() {
    assert_eq!(demo(&["--kills", "many"]).status.code(), Some(2));
    assert_eq!(demo(&["--events", "0"]).status.code(), Some(2));
    let output = demo(&["--events", "10", "--kills", "5"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("5 kills are too many") && told.contains("room for 4"), "{told}");
}

/// Interrupted in the middle, it leaves neither a process nor a file.
#[test]
fn the_verdict_is_the_same_where_the_manager_dies_too() {
    let result = result(&demo(&["--events", "100000", "--kills", "12", "--chaos", "--json"]));
    let number = |name: &str| result[name].as_u64();
    assert_eq!((number("kills"), number("manager_kills")), (Some(12), Some(4)), "{result}");
    assert_eq!(number("commits"), Some(50_000), "{result}");
}

#[test]
fn an_interrupted_demonstration_cleans_up() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut demo = Command::new(program("heirloom-under-test"))
        .args(["demo", "--events", "100000000", "--kills", "1000"])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let lines = BufReader::new(demo.stderr.take().expect("it was asked for")).lines();
    let mut lines = lines.map(|line| line.expect("the story is text"));
    lines.find(|line| line.starts_with("kill 2 of")).expect("the story gets to the second kill");
    kill_process(Pid::from_child(&demo), Signal::INT).expect("it is running");
    let rest: Vec<String> = lines.collect();
    let status = demo.wait().expect("it is our child");
    assert_eq!(status.code(), Some(1), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("interrupted")), "{rest:?}");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("the folder is there").collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let running = processes_that_name(folder.path());
    assert!(running.is_empty(), "still running: {running:?}");
}

fn processes_that_name(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().expect("a temporary path is UTF-8");
    let processes = fs::read_dir("/proc").expect("there is a /proc").flatten();
    processes
        .filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok())
        .filter(|words| words.contains(folder))
        .collect()
}
