//! What waits for pins, and what is freed in rows, against a model that keeps every pinned version: pins come and go in any
//! order, owners are killed, refused and replaced, and commits abandoned.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::support::{Frail, Random, effort, new_table, new_table_of};
use crate::region::{HeapRegion, Region};
use crate::table::layout::EPOCH;
use crate::table::{self, Kind, Pin, TableReader, TableWriter, WriteError};

const KEYS: usize = 40;
const MOST_WRITES: usize = 6;

/// What a table holds: for each key the number of the write, and the value.
type Content = BTreeMap<Vec<u8>, (u64, Vec<u8>)>;

struct Scene {
    region: Arc<Frail<Arc<HeapRegion>>>,
    writer: TableWriter<Arc<Frail<Arc<HeapRegion>>>>,
    batch_commits: u64,
    random: Random,
    writes: u64,
    now: Content,
    pinned: Vec<(Pin, Content)>,
}

fn key(number: usize) -> Vec<u8> {
    vec![number as u8; 1 + number % 3]
}

impl Scene {
    fn new(kind: Kind, seed: u64) -> Self {
        let region = Arc::new(Frail::new(new_table_of(kind, 1 << 20)));
        let batch_commits = [1, 2, 4, 16][seed as usize % 4];
        let writer = TableWriter::open(region.clone(), 0).unwrap();
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (now, pinned) = (Content::new(), Vec::new());
        let mut scene = Self { region, writer, batch_commits, random, writes: 0, now, pinned };
        scene.hand_over();
        (0..KEYS).for_each(|number| scene.write(&[number]));
        scene
    }

    fn hand_over(&mut self) {
        self.writer = TableWriter::open(self.region.clone(), 0).unwrap();
        self.writer.batch_commits = self.batch_commits;
    }

    fn value(&mut self) -> Vec<u8> {
        self.writes += 1;
        let length = [8, 8, 8, 60, 200][self.random.below(5)];
        self.writes.to_le_bytes().into_iter().cycle().take(length).collect()
    }

    fn write(&mut self, keys: &[usize]) {
        let mut after = self.now.clone();
        let values: Vec<_> = keys.iter().map(|number| (key(*number), self.value())).collect();
        let mut transaction = self.writer.transaction();
        for (key, value) in values {
            transaction.insert(&key, &value).unwrap();
            after.insert(key, (self.writes, value));
        }
        transaction.commit().unwrap();
        self.now = after;
    }

    fn remove(&mut self, number: usize) {
        assert_eq!(self.writer.remove(&key(number)).unwrap(), self.now.remove(&key(number)).is_some());
    }

    /// Entries are prepared in the place of others, and then one does not fit.
    fn abandon(&mut self) {
        let number = self.random.below(KEYS);
        let mut transaction = self.writer.transaction();
        (0..4).for_each(|next| transaction.insert(&key((number + next) % KEYS), &[1; 8]).unwrap());
        transaction.insert(b"too large", &vec![1; 1 << 20]).unwrap();
        assert!(matches!(transaction.commit(), Err(WriteError::TableFull { .. })));
    }

    /// The owner panics at some store of a write, and goes on.
    fn kill(&mut self) {
        let (key, value) = (key(self.random.below(KEYS)), self.value());
        self.region.die_after(Some(self.random.below(40) as u64));
        let _ = catch_unwind(AssertUnwindSafe(|| self.writer.insert(&key, &value)));
        self.region.die_after(None);
        self.writer.remove(b"absent").unwrap();
        if self.writer.reader().get(&key).unwrap() == Some(value.clone()) {
            self.now.insert(key, (self.writes, value));
        }
    }

    /// Another owner has the table for the time of a batch, or of a look at what is retired.
    fn refuse(&mut self) {
        self.region.store(EPOCH, 1);
        if self.random.below(2) == 0 {
            self.writer.move_horizon();
        } else {
            let swept = self.writer.sweep();
            assert!(matches!(swept, Ok(false) | Err(WriteError::Fenced { .. })), "{swept:?}");
        }
        self.region.store(EPOCH, 0);
    }

    fn pin(&mut self) {
        if self.pinned.len() < 6 {
            self.pinned.push((table::pin(&self.region).unwrap(), self.now.clone()));
        }
    }

    fn unpin(&mut self) {
        if self.pinned.is_empty() {
            return;
        }
        let number = match self.random.below(3) {
            0 => 0,
            1 => self.pinned.len() - 1,
            _ => self.random.below(self.pinned.len()),
        };
        table::unpin(&self.region, self.pinned.remove(number).0);
    }

    fn step(&mut self) {
        match self.random.below(40) {
            0..4 => self.pin(),
            4..8 => self.unpin(),
            8 => self.refuse(),
            9 => self.abandon(),
            10 => self.kill(),
            11 if self.random.below(4) == 0 => self.hand_over(),
            12..15 => {
                let number = self.random.below(KEYS);
                self.remove(number);
            }
            15 => {
                let number = self.random.below(KEYS);
                (0..2 * self.batch_commits).for_each(|_| self.write(&[number]));
            }
            16..20 => {
                let first = self.random.below(KEYS);
                let keys: Vec<_> = (0..MOST_WRITES).map(|next| (first + 7 * next) % KEYS).collect();
                self.write(&keys);
            }
            _ => {
                let number = self.random.below(KEYS);
                self.write(&[number]);
            }
        }
    }

    /// Each pinned version is as it was, and everything is in one place, and counted.
    fn check(&self) {
        let reader = TableReader::open(self.region.clone()).unwrap();
        for (pin, content) in &self.pinned {
            let mut scanned = BTreeMap::new();
            let mut visit = |key: &[u8], value: &[u8]| scanned.insert(key.to_vec(), value.to_vec()).is_none();
            reader.snapshot(*pin).scan(&mut visit).unwrap();
            let values = content.iter().map(|(key, (_, value))| (key.clone(), value.clone()));
            assert_eq!(scanned, values.collect(), "as of {}", pin.version());
        }
        assert_eq!(table::verify(&self.region).unwrap().held, reader.held().entries);
    }

    /// What is held, once all has been looked at, is what pins want: and what was overwritten just before a pin was found, and
    /// a removed entry of each key.
    fn check_what_is_held(&mut self) {
        for _ in 0..4 {
            self.writer.remove(b"absent").unwrap();
            while self.writer.make_room(usize::MAX).unwrap() > 0 {}
        }
        let is_now = |key: &Vec<u8>, write: u64| self.now.get(key).is_some_and(|now| now.0 == write);
        let mut wanted: Vec<(u64, &Vec<u8>)> = Vec::new();
        for (_, content) in &self.pinned {
            let older = content.iter().filter(|(key, (write, _))| !is_now(key, *write));
            wanted.extend(older.map(|(key, (write, _))| (*write, key)));
        }
        wanted.sort_unstable();
        wanted.dedup();
        let held = table::held(&self.region).entries as usize;
        let more = KEYS + (1 + self.pinned.len()) * 2 * self.batch_commits as usize * MOST_WRITES;
        assert!((wanted.len()..=wanted.len() + more).contains(&held), "{held} held, {} wanted", wanted.len());
    }
}

#[test]
fn pins_come_and_go_in_any_order() {
    for seed in 0..60 * effort() as u64 {
        let mut scene = Scene::new([Kind::Set, Kind::OrderedSet][seed as usize / 4 % 2], seed);
        for number in 0..500 {
            scene.step();
            if number % 5 == 0 {
                scene.check();
            }
            if number % 100 == 99 {
                scene.check_what_is_held();
            }
        }
        while !scene.pinned.is_empty() {
            scene.unpin();
            scene.write(&[0]);
            scene.check();
        }
        scene.check_what_is_held();
        let report = table::verify(&scene.region).unwrap();
        assert_eq!((report.held, report.retired), (0, 0), "nothing is held for nobody");
    }
}

/// What is overwritten again and again under an old pin costs a part of a commit, not one each: also after commits that were
/// abandoned.
#[test]
fn what_no_pin_wants_is_freed_in_rows() {
    let region = new_table(1 << 20);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    let keys = 0..100_u32;
    let round = |writer: &mut TableWriter<_>, number: u8| {
        let before = writer.version();
        for key in keys.clone() {
            writer.insert(&key.to_le_bytes(), &[number; 40]).unwrap();
        }
        writer.version() - before
    };
    round(&mut writer, 0);
    let pin = table::pin(&region).unwrap();
    writer.move_horizon();
    for number in 1..3 {
        round(&mut writer, number);
    }
    for number in 3..50 {
        if number == 20 {
            // What is overwritten before the pin is found has a successor, and is looked at by itself.
            table::pin(&region).unwrap();
            for key in 0..40_u32 {
                writer.insert(&key.to_le_bytes(), &[number; 40]).unwrap();
            }
        }
        let mut transaction = writer.transaction();
        transaction.insert(&7_u32.to_le_bytes(), &[1; 40]).unwrap();
        transaction.insert(b"too large", &vec![1; 1 << 20]).unwrap();
        assert!(transaction.commit().is_err());
        let commits = round(&mut writer, number);
        let is_in_rows = commits < 120 || (20..23).contains(&number);
        assert!(is_in_rows, "{commits} commits for 100 writes in round {number}");
    }
    let reader = TableReader::open(region.clone()).unwrap();
    assert_eq!(reader.held().entries, 200, "one of each key for each pin");
    assert_eq!(reader.snapshot(pin).get(&7_u32.to_le_bytes()).unwrap(), Some(vec![0; 40]));
    assert!(table::verify(&region).unwrap().retired < 200);
}

/// What waits for a short pin, behind the mark of an old one, goes when the short one does.
#[test]
fn short_pins_beside_an_old_one_leave_nothing_held() {
    let region = new_table(1 << 20);
    let mut writer = TableWriter::open(region.clone(), 0).unwrap();
    let round = |writer: &mut TableWriter<_>, number: u8| {
        for key in 0..50_u8 {
            writer.insert(&[key], &[number; 40]).unwrap();
        }
    };
    round(&mut writer, 0);
    let old = table::pin(&region).unwrap();
    writer.move_horizon();
    for number in 1..20 {
        round(&mut writer, number);
        let short = table::pin(&region).unwrap();
        writer.move_horizon();
        round(&mut writer, number + 100);
        let reader = TableReader::open(region.clone()).unwrap();
        assert_eq!(reader.snapshot(short).get(&[7]).unwrap(), Some(vec![number; 40]));
        assert!(reader.held().entries >= if number == 1 { 50 } else { 100 }, "{:?}", reader.held());
        table::unpin(&region, short);
        writer.move_horizon();
        while writer.make_room(1000).unwrap() > 0 {}
        assert_eq!(reader.held().entries, 50, "one of each key, for the old pin");
        assert_eq!(reader.snapshot(old).get(&[7]).unwrap(), Some(vec![0; 40]));
        table::verify(&region).unwrap();
    }
}
