//! Maps on the heap of one process, for one thread. Two macros have what hash maps and trees do alike.

use crate::turn::Subject;
use crate::work::{Value, Writes, add_words, bytes_of, read_each};
use std::collections::BTreeMap;

/// A map whose keys and values lie in it as they are: the least that one can cost.
macro_rules! inline {
    ($name:ident($map:ty)) => {
        pub(crate) struct $name($map);

        impl Subject for $name {
            fn new(_entries: usize) -> Self {
                Self(<$map>::new())
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
                Some(self.0.values().fold(0, |sum, value| add_words(sum, value)))
            }
        }
    };
}

/// A map with keys and values of any length, as a table has them.
macro_rules! boxed {
    ($name:ident($map:ty)) => {
        pub(crate) struct $name($map);

        impl Subject for $name {
            fn new(_entries: usize) -> Self {
                Self(<$map>::new())
            }

            fn write(&mut self, writes: Writes<'_>) {
                for (key, value) in writes.iter() {
                    self.0.insert(Box::new(bytes_of(key)), Box::new(value));
                }
            }

            fn read(&mut self, keys: &[u64]) -> u64 {
                read_each(keys, |key, into| {
                    self.0.get(bytes_of(key).as_slice()).map(|value| into.copy_from_slice(value)).is_some()
                })
            }

            fn remove(&mut self, keys: &[u64]) {
                for key in keys {
                    assert!(self.0.remove(bytes_of(*key).as_slice()).is_some(), "key {key} is there");
                }
            }

            fn scan(&mut self) -> Option<u64> {
                Some(self.0.values().fold(0, |sum, value| add_words(sum, value)))
            }
        }
    };
}

inline!(HashbrownInline(hashbrown::HashMap<u64, Value>));
boxed!(HashbrownBoxed(hashbrown::HashMap<Box<[u8]>, Box<[u8]>>));
inline!(BTreeInline(BTreeMap<u64, Value>));
boxed!(BTreeBoxed(BTreeMap<Box<[u8]>, Box<[u8]>>));
