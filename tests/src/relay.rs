//! A table that two workers of this process pass on to each other whenever somebody asks: what a handoff costs, and
//! whether one is lost, while something else goes on.

use crate::eventually;
use heirloom_worker::{Client, HandOn, Recall, TableHeir, Transfer, Worker, Writer};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The two workers. Dropping it ends them.
#[derive(Debug)]
pub struct Relay {
    table: String,
    client: Client,
    passed: u64,
    words: Vec<crossbeam_channel::Sender<Word>>,
    workers: Vec<Worker>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
enum Word {
    Take(Box<Transfer>),
    GiveBack,
    End,
}

struct Ear(crossbeam_channel::Sender<Word>);

impl TableHeir for Ear {
    fn transferred(&mut self, transfer: Transfer) {
        let _ = self.0.send(Word::Take(Box::new(transfer)));
    }

    fn recalled(&mut self, _: Recall) {
        let _ = self.0.send(Word::GiveBack);
    }
}

impl Relay {
    /// Starts both, as workers of that name; one has the table when this returns.
    ///
    /// # Panics
    /// Where the manager does not agree.
    #[must_use]
    pub fn start(socket: &Path, name: &str, table: &str) -> Self {
        let (mut words, mut workers, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..2 {
            let worker = Worker::connect(socket, name).expect("the manager is there");
            let (sender, inbox) = crossbeam_channel::unbounded();
            worker.heir(table, Ear(sender.clone())).expect("the table is in the configuration");
            worker.ready().expect("the manager is there");
            threads.push(thread::spawn(move || pass_on(&inbox)));
            words.push(sender);
            workers.push(worker);
        }
        let client = Client::connect(socket).expect("the manager is there");
        let relay = Self { table: table.to_owned(), client, passed: 0, words, workers, threads };
        relay.is_owned();
        relay
    }

    /// Has it handed on that often, and says how long each took: from the request to the answer that another has it.
    ///
    /// # Panics
    /// Where one fails.
    pub fn pass(&mut self, times: usize) -> Times {
        let pass = || {
            let start = Instant::now();
            let handed = self.client.hand_on(&self.table, HandOn::new()).expect("it is handed on");
            assert!(handed.owner.is_some(), "another worker is ready");
            start.elapsed()
        };
        let took = (0..times).map(|_| pass()).collect();
        self.passed += times as u64;
        Times::new(took)
    }

    /// Waits until somebody has it.
    pub fn is_owned(&self) {
        eventually("an owner", || {
            let tables = self.client.status().ok()?.tables;
            tables.into_iter().find(|table| table.id == self.table && table.state == "owned")
        });
    }

    /// Checks that each owner found what all before it had committed.
    ///
    /// # Panics
    /// Where one did not.
    pub fn nothing_is_lost(&self) {
        let reader = self.client.reader::<str, u64>(&self.table).expect("a reader");
        // The last one may not have committed yet. One that gave up waiting for its answer may have taken it as well.
        eventually("each owner's commit", || {
            (reader.get("count").expect("it can be read") > Some(self.passed)).then_some(())
        });
    }
}

/// Counts each ownership in the table itself.
fn pass_on(inbox: &crossbeam_channel::Receiver<Word>) {
    let mut own: Option<Writer<str, u64>> = None;
    for word in inbox {
        match word {
            Word::Take(transfer) => {
                let left = transfer.bequest::<u64>().ok().flatten().unwrap_or(0);
                let Ok(mut writer) = transfer.accept::<str, u64>() else { continue };
                assert_eq!(writer.get("count").expect("it can be read").unwrap_or(0), left);
                let mut transaction = writer.transaction();
                transaction.insert("count", &(left + 1)).expect("there is room");
                transaction.bequeath(&(left + 1)).expect("there is room");
                transaction.commit().expect("this is the owner");
                own = Some(writer);
            }
            Word::GiveBack => drop(own.take()),
            Word::End => return,
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        for words in &self.words {
            let _ = words.send(Word::End);
        }
        self.workers.clear();
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(thread::panicking() || ended.is_ok(), "an owner found something wrong");
        }
    }
}

/// How long things took.
#[derive(Debug, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    fn new(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        Self(took)
    }

    /// The one in the middle.
    #[must_use]
    pub fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// The longest.
    #[must_use]
    pub fn worst(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "median {:?}, worst {:?} of {}", self.median(), self.worst(), self.0.len())
    }
}
