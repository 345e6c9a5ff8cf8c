//! A service with its manager inside is killed at any moment: whoever supervises it keeps its tables, and the next one goes
//! on with them. The supervisor is ours here; systemd speaks the same protocol.

use heirloom_tests::ledger::Returned;
use heirloom_tests::{Actor, eventually, program};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const KILLS: u32 = 12;

/// What a service says when it has the table.
#[derive(Debug)]
struct Start {
    pid: i32,
    left: u64,
    hydrated_by: i32,
    epoch: u64,
}

impl Start {
    fn of(supervisor: &Actor) -> Self {
        let line = supervisor.next_line().expect("the supervisor goes on");
        let numbers: Vec<u64> = line.split(' ').map(|word| word.parse().expect("a number")).collect();
        let [pid, left, hydrated_by, epoch] = numbers[..] else { panic!("the service says {line:?}") };
        Self { pid: pid as i32, left, hydrated_by: hydrated_by as i32, epoch }
    }
}

#[test]
fn a_service_that_is_killed_finds_its_tables_again() {
    let folder = tempfile::Builder::new().prefix("heirloom-test-").tempdir().expect("a folder");
    let returned = Returned::open(&folder.path().join("returned")).expect("a record");
    let last = || returned.last().expect("it can be read");
    let supervisor = Actor::start(Command::new(program("service")).arg("supervise").arg(folder.path()));
    let mut random = StdRng::seed_from_u64(5);
    let first = Start::of(&supervisor);
    assert_eq!((first.left, first.hydrated_by, first.epoch), (0, first.pid, 1));
    let (mut pid, mut took) = (first.pid, Vec::new());
    for kill in 1..=KILLS {
        let before = last();
        eventually("commits", || (last() > before).then_some(()));
        // At any moment: this is the thing tested, not something waited for.
        thread::sleep(Duration::from_micros(random.random_range(0..3000)));
        kill_process(Pid::from_raw(pid).expect("a process id"), Signal::KILL).expect("it is there");
        let killed = Instant::now();
        let next = Start::of(&supervisor);
        took.push(killed.elapsed());
        assert!(next.left > before && next.pid != pid, "{next:?}");
        // The same table, never filled anew.
        assert_eq!((next.hydrated_by, next.epoch), (first.pid, u64::from(kill) + 1), "{next:?}");
        pid = next.pid;
    }
    println!("{KILLS} kills, {} commits; the next service owned its table after {took:?}", last());
    // As an operator stops it; then everything has ended.
    let stopping = Pid::from_child(supervisor.process());
    kill_process(stopping, Signal::TERM).expect("it is there");
    let mut supervisor = supervisor;
    eventually("the supervisor to stop", || supervisor.ended());
}
