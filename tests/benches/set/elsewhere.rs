//! The same gets from another process, which has the table mapped read-only: alone, and while its owner overwrites.

use crate::subjects::{self, Heirloom, Subject};
use crate::work::Work;
use crate::{PASSES, median};
use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::table::TableReader;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, process, thread};

/// Tells this program that it is the other process; holds the path of the segment and the number of entries.
const ROLE: &str = "HEIRLOOM_BENCH_READ";

/// Nanoseconds per get from another process: alone, and while the owner overwrites.
pub(crate) fn measure(work: &Work) -> (f64, f64) {
    let mut owner = Heirloom::new(work.len());
    work.time(0, |key, value| owner.insert(key, value));
    let mut reader = Reader::start(&owner, work.len());
    let alone = reader.measure();
    let (stop, mut pass) = (AtomicBool::new(false), 1);
    let beside_writer = thread::scope(|scope| {
        let owner = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for key in work.order(pass) {
                    owner.insert(key, &[0; _]);
                }
                pass += 1;
            }
        });
        let time = reader.measure();
        stop.store(true, Ordering::Relaxed);
        owner.join().expect("the owner does not panic");
        time
    });
    reader.end();
    (alone, beside_writer)
}

/// The other process: measures once for each line that it is sent.
struct Reader {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Reader {
    fn start(owner: &Heirloom, entries: usize) -> Self {
        let segment = owner.segment.as_fd().as_raw_fd();
        let mut process = Command::new(env::current_exe().expect("this program has a path"))
            .env(ROLE, format!("/proc/{}/fd/{segment} {entries}", process::id()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let answers = BufReader::new(process.stdout.take().expect("it was asked for"));
        Self { process, answers }
    }

    fn measure(&mut self) -> f64 {
        let mut questions = self.process.stdin.as_ref().expect("it was asked for");
        questions.write_all(b"measure\n").expect("the reader reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the reader answers");
        answer.trim().parse().expect("the answer is a number")
    }

    fn end(mut self) {
        drop(self.process.stdin.take());
        let status = self.process.wait().expect("the reader ends");
        assert!(status.success(), "the reader ended with {status}");
    }
}

/// Is the other process, where the environment says so.
pub(crate) fn run_if_asked() -> bool {
    let Ok(role) = env::var(ROLE) else { return false };
    let (path, entries) = role.split_once(' ').expect("the role is a path and a number");
    let segment = File::open(path).expect("the segment can be opened");
    let region = Arc::new(MappedRegion::read_only(segment.into()).expect("the segment can be mapped"));
    let reader = TableReader::open(region).expect("the segment holds a table");
    let work = Work::new(entries.parse().expect("the number of entries is a number"));
    for question in std::io::stdin().lines() {
        question.expect("the owner asks in text");
        let times =
            (0..PASSES).map(|pass| work.time_gets(pass, |key, into| subjects::get(&reader, key, into)));
        println!("{}", median(times.collect()));
    }
    true
}
