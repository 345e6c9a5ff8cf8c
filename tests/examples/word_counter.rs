//! The worker of the README's walk-through: it counts words, and whoever takes over goes on counting.
//!
//! `cargo test` compiles it and runs it under a supervisor, so the README's text stays true.
#![forbid(unsafe_code)]

use heirloom_worker::{TableHeir, Transfer, Worker};
use std::error::Error;
use std::{thread, time::Duration};

/// Hands each transfer to the main thread: an heir must not block.
struct Counter(crossbeam_channel::Sender<Transfer>);

impl TableHeir for Counter {
    fn transferred(&mut self, transfer: Transfer) {
        let _ = self.0.send(transfer);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let text = "the quick brown fox jumps over the lazy dog and the table outlives them all";
    let words: Vec<&str> = text.split(' ').collect();

    let worker = Worker::from_env("word_counter")?; // HEIRLOOM_SOCKET, set by `heirloom run`
    let (sender, inbox) = crossbeam_channel::unbounded();
    worker.heir("words", Counter(sender))?;
    worker.ready()?;

    for transfer in inbox {
        let mut position = transfer.bequest::<u64>()?.unwrap_or(0); // where the last owner stopped
        let mut counts = transfer.accept::<str, u64>()?; // only now may this process write
        println!("process {} goes on at word {position}", std::process::id());
        while !counts.is_recalled() {
            let word = words[position as usize % words.len()];
            position += 1;
            let mut transaction = counts.transaction();
            transaction.update(word, |count| Some(count.unwrap_or(0) + 1))?;
            transaction.bequeath(&position)?; // the count and the position survive together, or not at all
            transaction.commit()?;
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}
