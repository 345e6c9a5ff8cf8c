//! The gets of another process, which has the table mapped read-only: alone, and while its owner overwrites.

use crate::figures::{Column, Figures};
use crate::subjects::heirloom::{Heirloom, read_all};
use crate::turn::Subject;
use crate::work::{Clock, Step, Work};
use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::table::TableReader;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, process, thread};

pub(crate) fn alone<const ORDERED: bool>(work: &Work) -> Figures {
    start_reader(&segment_of(&filled::<ORDERED>(work)), work)
}

pub(crate) fn beside_writer<const ORDERED: bool>(work: &Work) -> Figures {
    while_owner_writes::<ORDERED, _>(work, Duration::ZERO, |segment| start_reader(segment, work))
}

/// The owner overwrites each value with itself, one in so long a time, from before `read` begins until after it has ended.
pub(crate) fn while_owner_writes<const ORDERED: bool, T>(
    work: &Work,
    pace: Duration,
    read: impl FnOnce(&str) -> T,
) -> T {
    let mut owner = filled::<ORDERED>(work);
    let (segment, order) = (segment_of(&owner), work.order(Step::Overwrite, 0));
    let over = &AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(move || {
            let (mut some, mut next) = (order.chunks(10).cycle(), Instant::now());
            while !over.load(Ordering::Relaxed) {
                let keys = some.next().expect("a circle has no end");
                owner.write(work.writes(keys, Step::Insert));
                next += pace * keys.len() as u32;
                if !pace.is_zero() {
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            }
        });
        let done = read(&segment);
        over.store(true, Ordering::Relaxed);
        done
    })
}

fn filled<const ORDERED: bool>(work: &Work) -> Heirloom<ORDERED> {
    let mut owner = Heirloom::new(work.len());
    owner.write(work.writes(&work.order(Step::Insert, 0), Step::Insert));
    owner
}

/// Where another process finds the segment, for as long as its owner lives.
fn segment_of<const ORDERED: bool>(owner: &Heirloom<ORDERED>) -> String {
    format!("/proc/{}/fd/{}", process::id(), owner.segment.as_fd().as_raw_fd())
}

/// The other process, from its start to its end.
fn start_reader(segment: &str, work: &Work) -> Figures {
    let output = Command::new(env::current_exe().expect("this program has a path"))
        .args(["--read", segment, "--entries", &work.len().to_string(), "--pass", &work.pass().to_string()])
        .stderr(process::Stdio::inherit())
        .output()
        .expect("this program can be started again");
    assert!(output.status.success(), "the reader ended with {}", output.status);
    serde_json::from_slice(&output.stdout).expect("it says figures")
}

/// What the other process does.
pub(crate) fn read(segment: &Path, work: &Work) -> Figures {
    let reader = open(segment);
    // Once without the clock: the pages of the segment are mapped as they are first touched.
    read_all(&reader, &work.order(Step::Remove, 0));
    let keys = work.order(Step::Get, 0);
    let (figure, sum) = Clock::Processor.time(keys.len(), || read_all(&reader, &keys));
    assert_eq!(sum, work.writes(&keys, Step::Insert).sum(), "it read what was written");
    let mut figures = Figures::default();
    figures.note(Column::Get, figure);
    figures
}

pub(crate) fn open(segment: &Path) -> TableReader<Arc<MappedRegion>> {
    let segment = File::open(segment).expect("the segment can be opened");
    let region = Arc::new(MappedRegion::read_only(segment.into()).expect("the segment can be mapped"));
    TableReader::open(region).expect("the segment holds a table")
}
