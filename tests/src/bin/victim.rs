//! One of the processes of the kill test (`tests/kills.rs`): `victim own|get|scan|snap|watch TABLE RECORD`.
//!
//! ```text
//! own     takes the table when it is handed it, checks all of it, and commits until it is killed
//! get     checks one key after the other, until it is killed
//! scan    checks all of them at once, until it is killed
//! snap    takes one snapshot after the other, and checks that each is of one commit throughout, until it is killed
//! watch   follows the changes, and checks each time that it has the table as of one commit, until it is killed
//! ```
//!
//! It says a line on standard output when it is ready, and an owner one more for each table it takes. Whoever finds
//! something wrong ends with an error.
#![forbid(unsafe_code)]

use heirloom_tests::ledger::{KEYS, Returned, removed_by, standing, value_of, write_of};
use heirloom_tests::role::{tell, transfers};
use heirloom_worker::{AcceptError, BequestError, Client, Reader, Watched, Worker};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::{env, process};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let words: Vec<String> = env::args().skip(1).collect();
    let [role, table, record] = words.as_slice() else {
        return Err("usage: victim own|get|scan|snap|watch TABLE RECORD".into());
    };
    let returned = Returned::open(Path::new(record))?;
    match role.as_str() {
        "own" => own(table, &returned),
        "get" => get(&reader(table)?, &returned),
        "scan" => scan(&reader(table)?, &returned),
        "snap" => snap(&reader(table)?, &returned),
        "watch" => watch(&reader(table)?, &returned),
        _ => Err(format!("there is no role {role:?}").into()),
    }
}

fn reader(table: &str) -> Result<Reader<u64, Vec<u64>>, Box<dyn Error>> {
    // Readers go on where the client is gone; its thread has nothing more to do.
    let client = Box::leak(Box::new(Client::from_env()?));
    let reader = client.reader(table)?;
    tell("ready")?;
    Ok(reader)
}

fn own(table: &str, returned: &Returned) -> Outcome {
    let worker = Worker::from_env("victim")?;
    let inbox = transfers(&worker, table)?;
    tell("ready")?;
    for transfer in inbox {
        // Where the manager dies meanwhile, the next one offers it again.
        let left = match transfer.bequest::<u64>() {
            Ok(left) => left.unwrap_or(0),
            Err(BequestError::Withdrawn { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let mut writer = match transfer.accept::<u64, Vec<u64>>() {
            Ok(writer) => writer,
            Err(AcceptError::Withdrawn { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let last = returned.last()?;
        assert!(left == last || left == last + 1, "write {last} returned, and the table is of {left}");
        for key in 0..KEYS {
            let found = writer.get(&key)?.map(|value| write_of(key, &value));
            assert_eq!(found, standing(key, left), "key {key} after write {left}");
        }
        returned.note(left)?;
        tell(&format!("owns {} {left}", process::id()))?;
        for write in left + 1.. {
            let mut transaction = writer.transaction();
            transaction.insert(&(write % KEYS), &value_of(write))?;
            if let Some(key) = removed_by(write) {
                transaction.remove(&key)?;
            }
            transaction.bequeath(&write)?;
            transaction.commit()?;
            returned.note(write)?;
        }
    }
    Ok(())
}

/// A value must be one that the key had since the question: no older than what had returned before it.
fn check(key: u64, found: Option<u64>, before: u64, after: u64) {
    let possible = (before..=after + 1).any(|write| standing(key, write) == found);
    assert!(possible, "key {key} has write {found:?} between writes {before} and {after}");
}

fn get(reader: &Reader<u64, Vec<u64>>, returned: &Returned) -> Outcome {
    for key in (0..KEYS).cycle() {
        let before = returned.last()?;
        let found = reader.get(&key)?.map(|value| write_of(key, &value));
        check(key, found, before, returned.last()?);
    }
    Ok(())
}

fn scan(reader: &Reader<u64, Vec<u64>>, returned: &Returned) -> Outcome {
    loop {
        let before = returned.last()?;
        let mut found = vec![None; KEYS as usize];
        reader.scan::<()>(|key, value| {
            let met = found[key as usize].replace(write_of(key, &value));
            assert_eq!(met, None, "key {key} twice");
            ControlFlow::Continue(())
        })?;
        let after = returned.last()?;
        for (key, found) in (0..).zip(found) {
            check(key, found, before, after);
        }
    }
}

fn snap(reader: &Reader<u64, Vec<u64>>, returned: &Returned) -> Outcome {
    loop {
        let before = returned.last()?;
        let snapshot = reader.snapshot()?;
        let write = snapshot.bequest::<u64>()?.unwrap_or(0);
        assert!(
            (before..=returned.last()? + 1).contains(&write),
            "a snapshot of write {write}, after {before}"
        );
        for _ in 0..2 {
            let mut copy = Copy(vec![None; KEYS as usize]);
            snapshot.scan::<()>(|key, value| {
                copy.put(key, Some(&value));
                ControlFlow::Continue(())
            })?;
            copy.is_of(write);
        }
        for key in (0..KEYS).step_by(37) {
            let found = snapshot.get(&key)?.map(|value| write_of(key, &value));
            assert_eq!(found, standing(key, write), "key {key} at write {write}");
        }
    }
}

/// What was put together of a table: by key, the write that its value is of.
struct Copy(Vec<Option<u64>>);

impl Copy {
    fn put(&mut self, key: u64, value: Option<&[u64]>) {
        self.0[key as usize] = value.map(|value| write_of(key, value));
    }

    fn is_of(&self, write: u64) {
        for (key, found) in (0..).zip(&self.0) {
            assert_eq!(*found, standing(key, write), "key {key} at write {write}");
        }
    }

    /// The newest write says what all else must be.
    fn check(&self, last: &mut u64, returned: &Returned) -> Outcome {
        let newest = self.0.iter().flatten().max().copied().unwrap_or(0);
        self.is_of(newest);
        let most = returned.last()? + 1;
        assert!((*last..=most).contains(&newest), "write {newest} after {last}, of {most}");
        *last = newest;
        Ok(())
    }
}

fn watch(reader: &Reader<u64, Vec<u64>>, returned: &Returned) -> Outcome {
    let mut copy = Copy(vec![None; KEYS as usize]);
    let mut last = 0;
    let mut watch = reader.watch()?;
    watch.start_over(|key, value| copy.put(key, Some(&value)))?;
    copy.check(&mut last, returned)?;
    loop {
        match watch.next().ok_or("a watch never ends")?? {
            Watched::Changes(changes) => {
                if changes.is_cleared() {
                    copy.0.fill(None);
                }
                for change in &changes {
                    let (key, value) = change?;
                    copy.put(key, value.as_deref());
                }
            }
            _ => {
                copy.0.fill(None);
                watch.start_over(|key, value| copy.put(key, Some(&value)))?;
            }
        }
        copy.check(&mut last, returned)?;
    }
}
