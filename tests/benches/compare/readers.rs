//! Whether readers take anything of each other: one process that gets, and two at once, while the owner writes a little.
//!
//! What is compared is the wall's time, since waiting for each other is what they might do. A reader begins when it is
//! told to, so that two of them run side by side from their first get to nearly the last.

use crate::elsewhere::{open, while_owner_writes};
use crate::figures::middle;
use crate::subjects::heirloom::read_all;
use crate::work::{Clock, Step, Work};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, io};

/// Its name in `--only`.
pub(crate) const NAME: &str = "readers";

/// How many commits the owner makes in a second meanwhile.
pub(crate) const COMMITS_PER_SECOND: u32 = 10_000;

/// Gets of one process, at least.
const LEAST_GETS: usize = 2_000_000;

/// Millions of gets a second: those of one process, and those of two at once.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    one: Vec<f64>,
    two: Vec<f64>,
}

impl Readers {
    pub(crate) fn one(&self) -> f64 {
        middle(&self.one).unwrap_or_default()
    }

    pub(crate) fn two(&self) -> f64 {
        middle(&self.two).unwrap_or_default()
    }

    /// Measures both once more.
    pub(crate) fn run(&mut self, work: &Work) {
        let pace = Duration::from_secs(1) / COMMITS_PER_SECOND;
        let (one, two) = while_owner_writes::<false, _>(work, pace, |segment| {
            (gets(1, segment, work), gets(2, segment, work))
        });
        self.one.push(one);
        self.two.push(two);
    }
}

/// Millions of gets a second that so many processes make together.
fn gets(processes: usize, segment: &str, work: &Work) -> f64 {
    let mut readers: Vec<_> = (0..processes).map(|_| Process::start(segment, work)).collect();
    readers.iter_mut().for_each(|reader| assert_eq!(reader.line(), "ready"));
    readers.iter_mut().for_each(Process::go);
    readers.iter_mut().map(|reader| reader.line().parse::<f64>().expect("it says a number")).sum()
}

/// A process that reads; killed when it is dropped.
struct Process {
    child: Child,
    lines: io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Process {
    fn start(segment: &str, work: &Work) -> Self {
        let mut child = Command::new(env::current_exe().expect("this program has a path"))
            .args(["--read-when-told", segment, "--entries", &work.len().to_string()])
            .args(["--pass", &work.pass().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("the reader has more to say").expect("it can be heard")
    }

    fn go(&mut self) {
        self.child.stdin.as_mut().expect("it was asked for").write_all(b"go\n").expect("it can be told");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What such a process does; it says millions of gets a second.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn read_when_told(segment: &Path, work: &Work) {
    let reader = open(segment);
    let keys = work.order(Step::Get, 0);
    let rounds = if work.len() < 1000 { 1 } else { LEAST_GETS.div_ceil(work.len()) };
    // Once without the clock: the pages of the segment are mapped as they are first touched.
    let expected = read_all(&reader, &keys);
    println!("ready");
    io::stdin().read_line(&mut String::new()).expect("it is told to go");
    let (ns, ()) = Clock::Wall.time(rounds * keys.len(), || {
        (0..rounds).for_each(|_| assert_eq!(read_all(&reader, &keys), expected));
    });
    println!("{}", 1000.0 / ns);
}
