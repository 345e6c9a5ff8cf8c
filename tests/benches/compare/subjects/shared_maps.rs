//! Maps on the heap of one process, which several threads read and write at once: papaya without locks, dashmap under a
//! lock for each part of it.

use crate::turn::Subject;
use crate::work::{Value, Writes, add_words, read_each};

pub(crate) struct Papaya(papaya::HashMap<u64, Value>);

impl Subject for Papaya {
    fn new(_entries: usize) -> Self {
        Self(papaya::HashMap::new())
    }

    fn write(&mut self, writes: Writes<'_>) {
        for (key, value) in writes.iter() {
            self.0.pin().insert(key, value);
        }
    }

    fn read(&mut self, keys: &[u64]) -> u64 {
        read_each(keys, |key, into| self.0.pin().get(&key).map(|value| *into = *value).is_some())
    }

    fn remove(&mut self, keys: &[u64]) {
        for key in keys {
            assert!(self.0.pin().remove(key).is_some(), "key {key} is there");
        }
    }

    fn scan(&mut self) -> Option<u64> {
        Some(self.0.pin().values().fold(0, |sum, value| add_words(sum, value)))
    }
}

pub(crate) struct Dashmap(dashmap::DashMap<u64, Value>);

impl Subject for Dashmap {
    fn new(_entries: usize) -> Self {
        Self(dashmap::DashMap::new())
    }

    fn write(&mut self, writes: Writes<'_>) {
        for (key, value) in writes.iter() {
            self.0.insert(key, value);
        }
    }

    fn read(&mut self, keys: &[u64]) -> u64 {
        read_each(keys, |key, into| self.0.get(&key).map(|value| *into = *value).is_some())
    }

    fn remove(&mut self, keys: &[u64]) {
        for key in keys {
            assert!(self.0.remove(key).is_some(), "key {key} is there");
        }
    }

    fn scan(&mut self) -> Option<u64> {
        Some(self.0.iter().fold(0, |sum, entry| add_words(sum, entry.value())))
    }
}
