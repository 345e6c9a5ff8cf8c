//! An owner that commits as fast as it can, and notes which write each version is of.

use super::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What an owner does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) keys: u64,
    /// Values have so many lengths.
    pub(super) lengths: u64,
    /// One write in so many clears the table first.
    pub(super) clears: u64,
    /// After so many writes it lets others go first.
    pub(super) pause: u64,
}

/// What a table is of: its last write, and the last one that cleared it before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct At {
    pub(super) write: u64,
    pub(super) cleared: u64,
}

/// Which versions of which incarnations are of which write.
#[derive(Debug, Default)]
pub(super) struct Record(Mutex<HashMap<u64, Vec<(u64, At)>>>);

impl Record {
    pub(super) fn note(&self, incarnation: u64, version: u64, at: At) {
        self.0.lock().unwrap().entry(incarnation).or_default().push((version, at));
    }

    /// A version of housekeeping is as the commit before it.
    pub(super) fn at(&self, incarnation: u64, version: u64) -> At {
        let record = self.0.lock().unwrap();
        let of_this = record.get(&incarnation).expect("no incarnation is named that there was not");
        of_this.iter().rev().find(|(noted, _)| *noted <= version).expect("it began before").1
    }
}

impl Owner {
    fn value(self, write: u64) -> Vec<u8> {
        write.to_be_bytes().repeat(1 + (write % self.lengths) as usize)
    }

    /// Each key has the last write of it since the last clear.
    pub(super) fn expected(self, at: At) -> Content {
        let from = at.cleared.max(at.write.saturating_sub(self.keys - 1)).max(1);
        let key = |write: u64| (write % self.keys).to_be_bytes().to_vec();
        let entry = |write| (key(write), self.value(write), Attributes::default());
        let mut entries: Vec<_> = (from..=at.write).map(entry).collect();
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        let bequest = (at.write > 0).then(|| at.write.to_be_bytes().to_vec());
        Content { entries, bequest, schema: None }
    }

    /// Goes on from what is noted of the table's version.
    pub(super) fn commit_on(
        self,
        mut writer: TableWriter<Arc<HeapRegion>>,
        incarnation: u64,
        record: &Record,
        enough: &AtomicBool,
    ) {
        let mut random = StdRng::seed_from_u64(incarnation);
        let mut at = record.at(incarnation, writer.version());
        while !enough.load(Ordering::Relaxed) {
            at.write += 1;
            let mut transaction = writer.transaction();
            if random.random_range(0..self.clears) == 0 {
                transaction.clear();
                at.cleared = at.write;
            }
            transaction.insert(&(at.write % self.keys).to_be_bytes(), &self.value(at.write)).unwrap();
            transaction.bequeath(&at.write.to_be_bytes()).unwrap();
            // Under the lock, so that a version that is on disk is in the record.
            let mut noted = record.0.lock().unwrap();
            let version = transaction.commit().unwrap();
            noted.entry(incarnation).or_default().push((version, at));
            drop(noted);
            if at.write.is_multiple_of(self.pause) {
                thread::yield_now();
            }
        }
    }
}
