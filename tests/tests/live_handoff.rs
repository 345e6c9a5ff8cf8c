//! A table is handed on by `heirloom handoff` while its owner commits and others read, all as fast as they can: no read
//! fails, no commit is lost, and it is printed how long the writes paused.
//!
//! `cargo test --release -p heirloom-tests --test live_handoff -- --nocapture` is what to measure with;
//! `HEIRLOOM_HANDOFFS` says how often.

use heirloom_protocol::message::HandoffStatus;
use heirloom_tests::builds::{Met, TABLE, Term, WORKER};
use heirloom_tests::{Actor, House, one_table, program};
use std::ops::RangeInclusive;
use std::process::Command;
use std::thread;

/// One handoff: from the last commit of the one owner to the first of the next, in microseconds.
struct Pause {
    /// When each stage was reached, by the clocks of those who reached it, since the last commit.
    stages: [u64; STAGES.len()],
    /// What `heirloom handoff` said of it, at least and at most, in nanoseconds.
    seen: RangeInclusive<u64>,
}

const STAGES: [&str; 8] = [
    "the release has arrived",
    "nobody can write",
    "recovered",
    "find-me has answered",
    "offered",
    "accepted",
    "granted",
    "the first commit has returned",
];

fn start(house: &House, role: &str) -> Actor {
    Actor::start(Command::new(program("older")).arg(role).env("HEIRLOOM_SOCKET", house.socket()))
}

/// Runs `heirloom handoff`, and says which process has the table then, and what it tells of the pause.
fn hand_on(house: &House) -> (u64, RangeInclusive<u64>) {
    let output = Command::new(program("heirloom-under-test"))
        .args(["handoff", TABLE, "--json"])
        .env("HEIRLOOM_SOCKET", house.socket())
        .output()
        .expect("the program can be started");
    assert!(output.status.success(), "{output:?}");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let number = |value: &serde_json::Value| value.as_u64().unwrap_or_else(|| panic!("no number: {answer}"));
    let [least, most] = [0, 1].map(|end| number(&answer["paused_us"][end]));
    // Whole microseconds of it are printed.
    (number(&answer["owner"]["pid"]), least * 1000..=(most + 1) * 1000)
}

impl Pause {
    fn between(before: Term, after: Term, handoff: &HandoffStatus, seen: RangeInclusive<u64>) -> Self {
        let (last, first) = (before.last_ns, after.first_ns);
        // What the command says is true: neither is a commit made before it began, nor after it returned.
        let possible = first.0 - last.1..=first.1 - last.0;
        assert!(seen.start() <= possible.end() && possible.start() <= seen.end(), "{seen:?}: {possible:?}");
        let (last, first) = (last.1, first.1);
        let noticed = (handoff.noticed_ns - last) / 1000;
        let stages = [
            noticed,
            noticed + handoff.unwritable_us,
            noticed + handoff.recovered_us,
            noticed + handoff.found_us,
            noticed + handoff.offered_us,
            noticed + handoff.accepted_us,
            noticed + handoff.granted_us,
            (first - last) / 1000,
        ];
        assert!(stages.is_sorted(), "{stages:?}");
        Self { stages, seen }
    }
}

#[test]
fn no_read_fails_and_no_commit_is_lost() {
    let handoffs = std::env::var("HEIRLOOM_HANDOFFS")
        .map_or(20, |handoffs| handoffs.parse().expect("HEIRLOOM_HANDOFFS is a number"));
    let house = House::start(|_| one_table(TABLE, WORKER));
    let client = house.client();
    let owners = [start(&house, "own"), start(&house, "own")];
    // With the owner, as many as there are processors: all of them are busy, and none has more than one to do.
    let readers = thread::available_parallelism().map_or(1, |processors| processors.get().max(2) - 1);
    let readers: Vec<_> = (0..readers).map(|_| start(&house, "read")).collect();
    let mut before: Option<Term> = None;
    let mut pauses = Vec::new();
    let mut handoff = None;
    for round in 0..=handoffs {
        // The last one only ends the term of the owner before.
        let (pid, seen) = hand_on(&house);
        let (old, new) = (&owners[round % 2], &owners[(round + 1) % 2]);
        assert_eq!(pid, u64::from(new.process().id()), "handoff {round}: they take turns");
        let line = old.next_line().unwrap_or_else(|| panic!("handoff {round}: the owner has ended"));
        let term: Term = line.parse().expect("an owner tells of its term");
        if let (Some(before), Some((handoff, seen))) = (before, handoff.take()) {
            assert_eq!(term.writes.0, before.writes.1, "handoff {round}: a commit that returned is lost");
            assert!(term.epoch > before.epoch, "handoff {round}");
            pauses.push(Pause::between(before, term, &handoff, seen));
        }
        before = Some(term);
        handoff = house.table(&client, TABLE).last_handoff.map(|handoff| (handoff, seen));
    }
    let met = readers.into_iter().map(|mut reader| {
        reader.that_is_enough();
        let line = reader.next_line().expect("no read fails");
        line.parse::<Met>().expect("a reader tells what it has met")
    });
    let met: Vec<_> = met.collect();
    assert!(met.iter().all(|met| met.decoded > handoffs as u64 && met.changed == 0), "{met:?}");

    let writes = before.expect("there was an owner").writes.1;
    let reads: u64 = met.iter().map(|met| met.decoded).sum();
    println!(
        "{} handoffs, {writes} commits, {reads} reads; microseconds, least, median and most:",
        pauses.len()
    );
    for (number, stage) in STAGES.into_iter().enumerate() {
        print(stage, pauses.iter().map(|pause| pause.stages[number]));
    }
    print("`heirloom handoff`: at least", pauses.iter().map(|pause| pause.seen.start() / 1000));
    print("`heirloom handoff`: at most", pauses.iter().map(|pause| pause.seen.end() / 1000));
}

fn print(what: &str, microseconds: impl Iterator<Item = u64>) {
    let mut sorted: Vec<u64> = microseconds.collect();
    sorted.sort_unstable();
    let (least, median, most) = (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
    println!("{what:<30} {least:>7} {median:>7} {most:>7}");
}
