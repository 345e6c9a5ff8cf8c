//! A watch in one process while the owners in others are killed, one after the other: no gap, never half a commit, and in
//! the end exactly what the table has.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use heirloom_tests::{Candidate, House, Misbehaviour};
use heirloom_worker::{Reader, Watch, Watched};

const ROUNDS: usize = 30;

const CONFIGURATION: &str = r#"
[[table]]
id = "ledger"
type = "set"
max_bytes = "4MiB"
find_me = { name = "clerk" }

[[worker]]
name = "clerk"
external = true
"#;

/// A copy of the table, kept by following it.
struct Copy {
    watch: Watch<str, u64>,
    entries: BTreeMap<String, u64>,
    batches: u64,
    overtaken: u64,
}

impl Copy {
    fn of(reader: &Reader<str, u64>) -> Self {
        let watch = reader.watch().expect("the manager lets it follow");
        let mut copy = Self { watch, entries: BTreeMap::new(), batches: 0, overtaken: 0 };
        copy.start_over();
        copy
    }

    fn start_over(&mut self) {
        self.entries.clear();
        let entries = &mut self.entries;
        let each = |key, value| assert!(entries.insert(key, value).is_none(), "a key comes twice");
        self.watch.start_over(each).expect("a pinned version");
    }

    /// Waits a little for the next changes; whether there were any.
    fn take(&mut self) -> bool {
        let count = self.count();
        match self.watch.next_within(Duration::from_millis(20)).expect("the table is whole") {
            None => return false,
            Some(Watched::Changes(changes)) => {
                self.batches += 1;
                for change in &changes {
                    match change.expect("the candidates write such keys and values") {
                        (key, Some(value)) => self.entries.insert(key, value),
                        (key, None) => self.entries.remove(&key),
                    };
                }
            }
            Some(_) => {
                self.overtaken += 1;
                self.start_over();
            }
        }
        assert!(self.count() >= count, "a commit that was told before is gone");
        assert_eq!(self.entries.get("double").copied().unwrap_or(0), 2 * self.count(), "half a commit");
        true
    }

    fn count(&self) -> u64 {
        self.entries.get("count").copied().unwrap_or(0)
    }
}

#[test]
fn a_watch_outlives_every_owner_and_misses_nothing() {
    let house = House::start(|_| CONFIGURATION.into());
    let client = house.client();
    let ledger = client.reader::<str, u64>("ledger").expect("the table can be read");
    let mut copy = Copy::of(&ledger);
    let killing = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            let start = || Candidate::start(&house.socket(), "clerk", "ledger", Misbehaviour::None, 0);
            let mut owner = start();
            has_the_table(&owner);
            for _ in 0..ROUNDS {
                let heir = start();
                owner.kill();
                has_the_table(&heir);
                owner = heir;
            }
            drop(owner);
            killing.store(false, Ordering::Release);
        });
        while killing.load(Ordering::Acquire) {
            copy.take();
        }
    });
    // Nobody writes any more. The last commit in flight is recovered within moments.
    heirloom_tests::eventually("the last owner to be gone", || {
        house.table(&client, "ledger").owner.is_none().then_some(())
    });
    while copy.take() {}
    assert_eq!(copy.entries, ledger.entries().expect("the table is whole").into_iter().collect());
    assert_eq!(copy.watch.version(), ledger.version());
    println!("{} batches up to {}, overtaken {} times", copy.batches, copy.count(), copy.overtaken);
    assert!(copy.batches > ROUNDS as u64 && copy.count() > 0);
}

/// Waits until it owns the table and has committed once.
fn has_the_table(candidate: &Candidate) {
    assert_eq!(candidate.next_words().first().map(String::as_str), Some("owns"));
    assert_eq!(candidate.next_words(), ["commits"]);
}
