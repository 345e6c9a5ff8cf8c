//! What every subject has to do: the keys, their order in each pass, the values, and the clock.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::hint::black_box;
use std::time::Instant;

pub(crate) const VALUE_BYTES: usize = 64;

/// A value, as bytes.
pub(crate) type Value = [u8; VALUE_BYTES];

/// Random keys, the same ones in each run.
pub(crate) struct Work {
    keys: Vec<u64>,
}

impl Work {
    pub(crate) fn new(entries: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(1);
        Self { keys: (0..entries).map(|_| rng.random()).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// All keys, in an order that is different in each pass.
    pub(crate) fn order(&self, pass: usize) -> Vec<u64> {
        let mut keys = self.keys.clone();
        keys.shuffle(&mut StdRng::seed_from_u64(pass as u64 + 2));
        keys
    }

    /// Nanoseconds per key of something that is done with each key and a value for it.
    pub(crate) fn time(&self, pass: usize, mut each: impl FnMut(u64, &Value)) -> f64 {
        let order = self.order(pass);
        let start = Instant::now();
        for key in &order {
            each(*key, &value(*key, pass as u64));
        }
        per_key(start, &order)
    }

    /// Nanoseconds per key of reading each key's value, which must be there.
    pub(crate) fn time_gets(&self, pass: usize, mut get: impl FnMut(u64, &mut Value) -> bool) -> f64 {
        let order = self.order(pass);
        let (mut sum, mut into) = (0, [0; VALUE_BYTES]);
        let start = Instant::now();
        for key in &order {
            assert!(get(*key, &mut into), "key {key} has no value");
            sum = checksum(sum, &into);
        }
        let time = per_key(start, &order);
        black_box(sum);
        time
    }
}

#[allow(clippy::cast_precision_loss)]
fn per_key(start: Instant, order: &[u64]) -> f64 {
    start.elapsed().as_nanos() as f64 / order.len() as f64
}

/// A value that is different for each key and pass.
fn value(key: u64, pass: u64) -> Value {
    let mut value = [0; VALUE_BYTES];
    for (index, word) in (pass..).zip(value.chunks_exact_mut(8)) {
        word.copy_from_slice(&key.wrapping_add(index).to_le_bytes());
    }
    value
}

fn checksum(sum: u64, value: &Value) -> u64 {
    value.chunks_exact(8).fold(sum, |sum, word| {
        sum.wrapping_add(u64::from_le_bytes(word.try_into().expect("chunks of 8 have 8 bytes")))
    })
}
