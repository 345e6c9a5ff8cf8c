//! Plants faults, one at a time, and fails unless a test fails for each: `cargo run -p heirloom-tests --bin faults
//! [PART OF A NAME] [--all | --survey]`.
//!
//! It works in a copy of the source tree, in a temporary folder that goes away with it. All faults are planted at once, each
//! behind a question that an environment variable answers, so that each package is built once (and the engine once more for
//! loom); then the first test that a list (`tests/faults/*.toml`) names for a fault runs with it, in a process of its own,
//! which is killed where it does not end. Before, the same tests must pass without a fault.
//!
//! The lists are the record of which test catches which fault. With `--all`, every test that they name must fail. With
//! `--survey`, all tests of a list's package run with each fault, and those that fail are said: for the list, when a fault
//! or a test is new.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{env, error, fs, io, thread};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Deserialize;

type Outcome<T> = Result<T, Box<dyn error::Error>>;

/// The environment variable with the number of the fault that is there in this process.
const PLANTED: &str = "HEIRLOOM_PLANTED";
/// Tests whose names begin so are for the engine built with loom.
const LOOM: &str = "orderings::";
/// A test that takes longer without a fault does not end. The longest takes some ten seconds, on a machine at leisure.
const MOST_TIME: Duration = Duration::from_secs(900);
/// With a fault, it does not end where it takes four times as long as without, and so much more.
const MORE_TIME: Duration = Duration::from_secs(30);

/// What is asked at the place of each fault.
const QUESTION: &str = r#"
pub(crate) fn planted(fault: usize) -> bool {
    static PLANTED: std::sync::LazyLock<usize> = std::sync::LazyLock::new(|| {
        std::env::var("HEIRLOOM_PLANTED").map_or(0, |fault| fault.parse().expect("the number of a fault"))
    });
    *PLANTED == fault
}
"#;

/// The faults of one package.
#[derive(Deserialize)]
struct List {
    package: String,
    /// That package's folder.
    folder: String,
    /// Where the files are that are edited, below that folder.
    files: String,
    /// What the names of its tests begin with.
    tests: String,
    fault: Vec<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    name: String,
    rule: String,
    caught_by: Vec<String>,
    edit: Vec<Edit>,
}

#[derive(Deserialize)]
struct Edit {
    file: String,
    within: Option<String>,
    old: String,
    new: String,
}

/// A place in a file, and the faults there.
struct Place<'a> {
    file: &'a str,
    start: usize,
    old: &'a str,
    /// Number of the fault, counted from one, and the text.
    new: Vec<(usize, &'a str)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    FirstTest,
    AllTests,
    Survey,
}

fn main() -> ExitCode {
    let (options, names): (Vec<String>, Vec<String>) =
        env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let mode = match options.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Mode::FirstTest,
        ["--all"] => Mode::AllTests,
        ["--survey"] => Mode::Survey,
        _ => {
            eprintln!("usage: faults [PART OF A NAME] [--all | --survey]");
            return ExitCode::from(2);
        }
    };
    match run(names.first().map_or("", String::as_str), mode) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error}");
            ExitCode::FAILURE
        }
    }
}

/// False where a fault was not caught.
fn run(part_of_name: &str, mode: Mode) -> Outcome<bool> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("this package is in a workspace")?;
    let mut files: Vec<_> =
        fs::read_dir(source.join("tests/faults"))?.map(|file| Ok(file?.path())).collect::<io::Result<_>>()?;
    files.sort();
    let lists = files.iter().map(|file| Ok(toml::from_str(&fs::read_to_string(file)?)?));
    let lists: Vec<List> = lists.collect::<Outcome<_>>()?;
    let copy = tempfile::tempdir()?;
    copy_tree(source, copy.path())?;
    // Counted through all lists, since what is planted in one package is in those that use it as well.
    let (mut numbers, mut caught) = (1.., Vec::new());
    for list in &lists {
        let faults: Vec<(usize, &Fault)> = numbers.by_ref().zip(&list.fault).collect();
        if faults.iter().any(|(_, fault)| fault.name.contains(part_of_name)) {
            caught.extend(run_list(copy.path(), list, &faults, part_of_name, mode)?);
        }
    }
    let count = caught.iter().filter(|caught| **caught).count();
    println!("{count} of {} faults are caught", caught.len());
    Ok(count == caught.len())
}

/// Which of the faults were caught.
fn run_list(
    copy: &Path,
    list: &List,
    faults: &[(usize, &Fault)],
    part_of_name: &str,
    mode: Mode,
) -> Outcome<Vec<bool>> {
    let folder = copy.join(&list.folder);
    plant(faults, &folder.join(&list.files))?;
    let lib = folder.join("src/lib.rs");
    fs::write(&lib, fs::read_to_string(&lib)? + QUESTION)?;

    let chosen: Vec<(usize, &Fault)> =
        faults.iter().copied().filter(|(_, fault)| fault.name.contains(part_of_name)).collect();
    let count = if mode == Mode::FirstTest { 1 } else { usize::MAX };
    let named: BTreeSet<&str> = chosen.iter().flat_map(|(_, fault)| fault.first_tests(count)).collect();
    let has_loom =
        list.fault.iter().flat_map(|fault| fault.first_tests(usize::MAX)).any(|test| test.starts_with(LOOM));
    let loom = named.iter().any(|test| test.starts_with(LOOM)) || mode == Mode::Survey && has_loom;
    let tests = Tests {
        program: build(copy, &list.package, "")?,
        loom: if loom { Some(build(copy, &list.package, "--cfg loom")?) } else { None },
        folder,
        below: &list.tests,
    };
    let healthy = side_by_side(named, |test| {
        let started = Instant::now();
        match tests.passes(0, test, MOST_TIME)? {
            true => Ok((test, started.elapsed())),
            false => Err(format!("without a fault, {test} fails, or there is no such test").into()),
        }
    })?;
    let healthy: HashMap<&str, Duration> = healthy.into_iter().collect();
    side_by_side(chosen, |(number, fault)| {
        if mode == Mode::Survey {
            println!("{}: {}", fault.name, tests.that_fail(number)?.join(", "));
            return Ok(true);
        }
        let mut missed_by = Vec::new();
        for test in fault.first_tests(count) {
            if tests.passes(number, test, 4 * healthy[test] + MORE_TIME)? {
                missed_by.push(test);
            }
        }
        let caught = missed_by.is_empty() && !fault.caught_by.is_empty();
        match caught {
            true => println!("caught: {} ({}), by {}", fault.name, fault.rule, fault.caught_by[0]),
            false => println!("NOT CAUGHT: {} ({}): {}", fault.name, fault.rule, missed_by.join(", ")),
        }
        Ok(caught)
    })
}

impl Fault {
    fn first_tests(&self, count: usize) -> impl Iterator<Item = &str> {
        self.caught_by.iter().take(count).map(String::as_str)
    }
}

/// Does something with each, on as many threads as there are processors.
fn side_by_side<T: Send, U: Send>(
    each: impl IntoIterator<Item = T, IntoIter: Send>,
    todo: impl Fn(T) -> Outcome<U> + Sync,
) -> Outcome<Vec<U>> {
    let (left, done) = (Mutex::new(each.into_iter()), Mutex::new(Vec::new()));
    let processors = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        let work = || {
            // Said as text, since not every error can go from one thread to another.
            loop {
                let Some(next) = left.lock().expect("no iterator panics").next() else { return Ok(()) };
                let result = todo(next).map_err(|error| error.to_string())?;
                done.lock().expect("pushing does not panic").push(result);
            }
        };
        let threads: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("what it does returns errors"))
    })
    .map_err(|error: String| error)?;
    Ok(done.into_inner().expect("pushing does not panic"))
}

/// Copies what belongs to the source tree, committed or not.
fn copy_tree(source: &Path, copy: &Path) -> Outcome<()> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(source)
        .output()?;
    for file in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        let to = copy.join(file);
        fs::create_dir_all(to.parent().unwrap_or(copy))?;
        match fs::copy(source.join(file), to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Plants all faults in the files of a folder, each behind the question whether it is there.
fn plant(faults: &[(usize, &Fault)], folder: &Path) -> Outcome<()> {
    let mut places: Vec<Place<'_>> = Vec::new();
    for (number, fault) in faults.iter().copied() {
        for edit in &fault.edit {
            let start = find(edit, &fs::read_to_string(folder.join(&edit.file))?)
                .ok_or_else(|| format!("{}: {:?} is not in {} once", fault.name, edit.old, edit.file))?;
            match places.iter_mut().find(|place| place.file == edit.file && place.start == start) {
                Some(place) => place.new.push((number, &edit.new)),
                None => places.push(Place {
                    file: &edit.file,
                    start,
                    old: &edit.old,
                    new: vec![(number, &edit.new)],
                }),
            }
        }
    }
    // From the end of each file to its start, so that no place moves before its turn.
    places.sort_by_key(|place| std::cmp::Reverse(place.start));
    for place in places {
        let file = folder.join(place.file);
        let mut text = fs::read_to_string(&file)?;
        text.replace_range(place.start..place.start + place.old.len(), &alternatives(&place));
        fs::write(file, text)?;
    }
    Ok(())
}

fn find(edit: &Edit, text: &str) -> Option<usize> {
    let once = |text: &str, part: &str| text.find(part).filter(|start| text.rfind(part) == Some(*start));
    let within = edit.within.as_ref().unwrap_or(&edit.old);
    Some(once(text, within)? + once(within, &edit.old)?)
}

/// Statements end in a semicolon or a brace; all else is an expression.
fn alternatives(place: &Place<'_>) -> String {
    let mut text = String::new();
    for (number, new) in &place.new {
        text += &format!("if crate::planted({number}) {{ {new} }} else ");
    }
    text += &format!("{{ {} }}", place.old);
    if place.old.ends_with([';', '}']) { text } else { format!("({text})") }
}

/// Builds the unit tests with these flags for the compiler, and says where they are.
fn build(copy: &Path, package: &str, flags: &str) -> Outcome<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    let built = Command::new("cargo")
        .args(["test", "-p", package, "--lib", "--no-run", "--message-format=json-render-diagnostics"])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", copy.join(if flags.is_empty() { "target" } else { "target/flags" }))
        // What is planted is put in parentheses, among other things that a compiler warns of.
        .env("RUSTFLAGS", format!("{flags} -Awarnings"))
        .stderr(Stdio::inherit())
        .output()?;
    if !built.status.success() {
        return Err(format!("{package} does not compile with the faults in it").into());
    }
    let messages = String::from_utf8(built.stdout)?;
    let mut programs =
        messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable);
    Ok(programs.next_back().ok_or("cargo built no tests")?)
}

/// A package's unit tests, with all the faults in them.
struct Tests<'l> {
    program: PathBuf,
    /// The same for loom, where it is needed.
    loom: Option<PathBuf>,
    folder: PathBuf,
    /// What the names of the tests begin with.
    below: &'l str,
}

impl Tests<'_> {
    /// Whether one test passes with a fault (0: without one).
    fn passes(&self, fault: usize, test: &str, most_time: Duration) -> Outcome<bool> {
        let program = if test.starts_with(LOOM) { &self.loom } else { &Some(self.program.clone()) };
        let program = program.as_ref().ok_or("loom was not built")?;
        let arguments = ["--exact", &format!("{}{test}", self.below)];
        let report = self.run(program, fault, &arguments, most_time)?;
        Ok(report.contains("test result: ok. 1 passed"))
    }

    /// All tests that fail with a fault. Where one ends the process or does not end, only it is said, and what failed before.
    fn that_fail(&self, fault: usize) -> Outcome<Vec<String>> {
        let mut failed = Vec::new();
        for (program, below) in
            std::iter::once((&self.program, "")).chain(self.loom.iter().map(|loom| (loom, LOOM)))
        {
            let report = self.run(program, fault, &[&format!("{}{below}", self.below)], MOST_TIME)?;
            let prefix = format!("test {}", self.below);
            let results = report.lines().filter_map(|line| line.strip_prefix(&prefix));
            failed.extend(results.filter_map(|line| Some(line.strip_suffix(" ... FAILED")?.to_owned())));
            if !report.contains("test result:") {
                failed.push("(the process did not end, or was ended)".to_owned());
            }
        }
        Ok(failed)
    }

    /// What they say; less of it where they do not end and are killed.
    fn run(&self, program: &Path, fault: usize, arguments: &[&str], most_time: Duration) -> Outcome<String> {
        let process = Command::new(program)
            .args(arguments)
            .current_dir(&self.folder)
            .env(PLANTED, fault.to_string())
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let process_id = Pid::from_raw(process.id().try_into()?).ok_or("a process has an id")?;
        let handle = pidfd_open(process_id, PidfdFlags::empty())?;
        let (done, waiting) = std::sync::mpsc::channel::<()>();
        let watch = thread::spawn(move || {
            let ended = waiting.recv_timeout(most_time);
            if ended == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                // Where it has ended just now, there is nobody to be killed.
                let _ = pidfd_send_signal(handle, Signal::KILL);
            }
        });
        let output = process.wait_with_output();
        drop(done);
        watch.join().expect("the watch only waits");
        Ok(String::from_utf8_lossy(&output?.stdout).into_owned())
    }
}
