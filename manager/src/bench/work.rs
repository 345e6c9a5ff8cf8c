//! The keys, their order in each pass, the values, and the clock.

use super::{Failure, Options};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::hint::black_box;
use std::time::Instant;

/// Random keys, the same ones in each run.
pub(super) struct Work {
    keys: Vec<u64>,
    value_bytes: usize,
}

impl Work {
    pub(super) fn new(options: Options) -> Self {
        let mut rng = StdRng::seed_from_u64(1);
        let keys = (0..options.entries).map(|_| rng.random()).collect();
        Self { keys, value_bytes: options.value_bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// All keys, in an order that is different in each pass.
    pub(super) fn order(&self, pass: usize) -> Vec<u64> {
        let mut keys = self.keys.clone();
        keys.shuffle(&mut StdRng::seed_from_u64(pass as u64 + 2));
        keys
    }

    /// A value, which [`fill`] makes that of a key.
    pub(super) fn value(&self) -> Vec<u8> {
        vec![0; self.value_bytes]
    }

    /// Nanoseconds per key of something that is done with each key and a value for it.
    pub(super) fn time(
        &self,
        pass: usize,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), Failure>,
    ) -> Result<f64, Failure> {
        let (order, mut value) = (self.order(pass), self.value());
        let start = Instant::now();
        for key in &order {
            fill(&mut value, *key, pass as u64);
            each(*key, &value)?;
        }
        Ok(nanoseconds_each(start, order.len()))
    }

    /// Nanoseconds per key of reading each key's value, which must be there.
    pub(super) fn time_gets(
        &self,
        pass: usize,
        mut get: impl FnMut(u64, &mut Vec<u8>) -> Result<bool, Failure>,
    ) -> Result<f64, Failure> {
        let (order, mut value, mut sum) = (self.order(pass), Vec::with_capacity(self.value_bytes), 0);
        let start = Instant::now();
        for key in &order {
            value.clear();
            if !get(*key, &mut value)? {
                return Err(format!("key {key} has no value").into());
            }
            sum = checksum(sum, &value);
        }
        let time = nanoseconds_each(start, order.len());
        black_box(sum);
        Ok(time)
    }
}

/// Since `start`, for each of so many.
pub(super) fn nanoseconds_each(start: Instant, number: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / number as f64
}

/// Makes it a value that is different for each key and pass.
pub(super) fn fill(value: &mut [u8], key: u64, pass: u64) {
    for (index, word) in (pass..).zip(value.chunks_exact_mut(8)) {
        word.copy_from_slice(&key.wrapping_add(index).to_le_bytes());
    }
}

/// The words of a value, added to a sum.
pub(super) fn checksum(sum: u64, value: &[u8]) -> u64 {
    value.chunks_exact(8).fold(sum, |sum, word| {
        sum.wrapping_add(u64::from_le_bytes(word.try_into().expect("chunks of 8 have 8 bytes")))
    })
}
