//! Candidates that die at each step of the handshake: the table is never lost, never has two owners, and the next
//! candidate gets it. Each owner holds a heap that was allocated after the gift, which makes it slow to die.

use heirloom_tests::{Candidate, House, Misbehaviour, one_table};
use std::fs;

const ROUNDS: usize = 200;

/// Two owners are alive at the same time, one of them dying.
const HEAP_BYTES: usize = 500 << 20;
const NEEDED_KIB: u64 = 2 << 20;

/// The step at which the candidate dies that is asked before the heir.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    BeforeTheOffer,
    AtTheOffer,
    AfterAccepting,
    BeforeItsFirstCommit,
}

const STEPS: [Step; 4] =
    [Step::BeforeTheOffer, Step::AtTheOffer, Step::AfterAccepting, Step::BeforeItsFirstCommit];

impl Step {
    fn misbehaviour(self) -> Misbehaviour {
        match self {
            Self::BeforeTheOffer => Misbehaviour::None,
            Self::AtTheOffer => Misbehaviour::DiesAtTheOffer,
            Self::AfterAccepting => Misbehaviour::DiesAfterAccepting,
            Self::BeforeItsFirstCommit => Misbehaviour::DiesBeforeItsFirstCommit,
        }
    }
}

#[test]
fn the_next_candidate_gets_the_whole_table() {
    if available_kib() < NEEDED_KIB {
        eprintln!("SKIPPED: candidates that are slow to die need 2 GiB of memory");
        return;
    }
    let house = House::start(|_| one_table("ledger", "clerk"));
    let client = house.client();
    let ledger = client.reader::<str, u64>("ledger").expect("the table can be read");
    let start = |misbehaviour, heap_bytes| {
        Candidate::start(&house.socket(), "clerk", "ledger", misbehaviour, heap_bytes)
    };
    let mut owner = start(Misbehaviour::None, HEAP_BYTES);
    let mut last = Inheritance::of(&owner, "the first owner");
    for round in 0..ROUNDS {
        let step = STEPS[round % STEPS.len()];
        let what = format!("round {round}, a candidate that dies {step:?}");
        let dying = start(step.misbehaviour(), 0);
        let heir = start(Misbehaviour::None, HEAP_BYTES);
        let seen = ledger.get("count").expect("the table is whole").unwrap_or(0);
        if step == Step::BeforeTheOffer {
            dying.kill();
        }
        owner.kill();
        let inherited = Inheritance::of(&heir, &what);
        assert!(inherited.epoch > last.epoch, "{what}: {inherited:?} after {last:?}");
        assert!(inherited.count >= seen, "{what}: {seen} was committed, {inherited:?}");
        assert!(inherited.version >= last.version, "{what}: {inherited:?} after {last:?}");
        (owner, last) = (heir, inherited);
    }
    let table = house.table(&client, "ledger");
    assert_eq!(table.owner.map(|owner| owner.pid), Some(owner.pid()));
    assert!(table.recoveries >= ROUNDS as u64, "{} recoveries in {ROUNDS} rounds", table.recoveries);
}

/// What an heir says it was left.
#[derive(Debug)]
struct Inheritance {
    epoch: u64,
    version: u64,
    count: u64,
}

impl Inheritance {
    /// Waits until the heir has its first commit behind it, and its heap.
    fn of(heir: &Candidate, what: &str) -> Self {
        let words = heir.next_words();
        let [owns, epoch, version, count, rival] = words.as_slice() else {
            panic!("{what}: the heir says {words:?}");
        };
        let number = |word: &String| word.parse().expect("this is a number");
        assert_eq!((owns.as_str(), number(rival)), ("owns", 0), "{what}: the owner before is still running");
        assert_eq!(heir.next_words(), ["commits"], "{what}");
        Self { epoch: number(epoch), version: number(version), count: number(count) }
    }
}

fn available_kib() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
