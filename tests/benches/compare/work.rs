//! What every subject has to do: the keys, their order in each step of a pass, the values, and the clock.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Duration;

pub(crate) const VALUE_BYTES: usize = 64;

/// A value, as bytes.
pub(crate) type Value = [u8; VALUE_BYTES];

/// The steps of a pass; each has an order of its own, so that no subject meets the keys in the order it keeps them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Insert,
    Get,
    Overwrite,
    Remove,
    Count,
}

/// One pass over random keys, the same ones in each run and for each subject.
pub(crate) struct Work {
    keys: Vec<u64>,
    pass: u64,
}

impl Work {
    pub(crate) fn new(entries: usize, pass: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(1);
        Self { keys: (0..entries).map(|_| rng.random()).collect(), pass }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn pass(&self) -> u64 {
        self.pass
    }

    /// All keys, in the order of that step; `round` counts where the step is done several times.
    pub(crate) fn order(&self, step: Step, round: usize) -> Vec<u64> {
        let mut keys = self.keys.clone();
        keys.shuffle(&mut StdRng::seed_from_u64(
            2 + self.pass + ((step as u64) << 20) + ((round as u64) << 32),
        ));
        keys
    }

    /// These keys, with the values that this step writes.
    pub(crate) fn writes<'k>(&self, keys: &'k [u64], step: Step) -> Writes<'k> {
        Writes { keys, stamp: self.stamp(step) }
    }

    /// What the values that this step writes differ in from those of another step or pass.
    pub(crate) fn stamp(&self, step: Step) -> u64 {
        self.pass * 16 + step as u64
    }
}

/// Keys to be written, in this order, with the values that belong to them.
#[derive(Clone, Copy)]
pub(crate) struct Writes<'a> {
    keys: &'a [u64],
    stamp: u64,
}

impl Writes<'_> {
    /// Keys and values, made one by one: a list of a million values would drive the subject out of the cache.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Value)> {
        self.keys.iter().map(|key| (*key, value(*key, self.stamp)))
    }

    /// What all these values add up to.
    pub(crate) fn sum(&self) -> u64 {
        self.iter().fold(0, |sum, (_, value)| add_words(sum, &value))
    }
}

/// Reads each key's value, which must be there, into a buffer; what all of them add up to.
pub(crate) fn read_each(keys: &[u64], mut get: impl FnMut(u64, &mut Value) -> bool) -> u64 {
    let (mut sum, mut into) = (0, [0; VALUE_BYTES]);
    for key in keys {
        assert!(get(*key, &mut into), "key {key} has no value");
        sum = add_words(sum, &into);
    }
    sum
}

/// Adds the words of a value to a sum: so every byte of it is looked at.
pub(crate) fn add_words(sum: u64, value: &[u8]) -> u64 {
    value.chunks_exact(8).fold(sum, |sum, word| {
        sum.wrapping_add(u64::from_le_bytes(word.try_into().expect("chunks of 8 have 8 bytes")))
    })
}

/// Which time an operation takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Clock {
    /// That of this thread's processor: what other programs take of it does not count.
    Processor,
    /// That of the wall, for who waits for another process.
    Wall,
}

impl Clock {
    fn now(self) -> Duration {
        let time = clock_gettime(match self {
            Self::Processor => ClockId::ThreadCPUTime,
            Self::Wall => ClockId::Monotonic,
        });
        time.try_into().expect("no clock stands below zero")
    }

    /// Nanoseconds for each of so many operations, and what came of them.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn time<T>(self, operations: usize, all: impl FnOnce() -> T) -> (f64, T) {
        let start = self.now();
        let result = black_box(all());
        ((self.now() - start).as_nanos() as f64 / operations as f64, result)
    }
}

/// The bytes of a key: their order is that of the numbers, for the subjects that keep one.
pub(crate) fn bytes_of(key: u64) -> [u8; 8] {
    key.to_be_bytes()
}

/// A value that is different for each key and stamp. `ets.escript` makes the same ones.
fn value(key: u64, stamp: u64) -> Value {
    let mut value = [0; VALUE_BYTES];
    for (index, word) in (stamp..).zip(value.chunks_exact_mut(8)) {
        word.copy_from_slice(&key.wrapping_add(index).to_le_bytes());
    }
    value
}
