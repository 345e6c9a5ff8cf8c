//! A program in two builds, `older` and `newer`, whose value types differ: `older own|read`, `newer own|read`.
//!
//! ```text
//! own     takes the table when it is handed it, and commits as fast as it can until it is recalled
//! read    reads one key after the other as fast as it can, until its standard input ends
//! ```
//!
//! Write number n stands under key `n % KEYS`; its number is also the bequest, so that an heir knows what returned. An
//! owner says a [`Term`] after each of its ownerships, a reader what it has [`Met`] at its end. Whoever finds a value that
//! is wrong, or of a write older than one seen before, ends with an error.

use crate::role::{tell, transfers};
use heirloom_worker::{Client, CodecError, ReadError, Reader, Schema, Versioned, Worker};
use heirloom_worker::{Value, Writer};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::io::Read;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fmt, thread};

/// The table.
pub const TABLE: &str = "sales";
/// The name under which both builds register.
pub const WORKER: &str = "shop";
/// Keys of the table.
pub const KEYS: u64 = 1000;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The value type of one build.
pub trait Sale: Schema {
    /// That of a write.
    fn new(number: u64) -> Self;
    /// The write that it is of; none where it is wrong.
    fn number(&self) -> Option<u64>;
}

/// A sale as the older build knows it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Older {
    number: u64,
    check: u64,
}

/// A sale as the newer build knows it: in another order, so that to read one as the other gives a wrong number.
#[derive(Debug, Serialize, Deserialize)]
pub struct Newer {
    check: u64,
    number: u64,
    note: String,
}

fn check(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Schema for Older {
    const NAME: &'static str = "sale";
    const VERSION: u32 = 1;
}

impl Schema for Newer {
    const NAME: &'static str = "sale";
    const VERSION: u32 = 2;

    fn decode_other(version: u32, bytes: &[u8]) -> Result<Option<Self>, CodecError> {
        if version != Older::VERSION {
            return Ok(None);
        }
        let Older { number, check } = Older::decode_value(bytes)?;
        Ok(Some(Self { check, number, note: String::new() }))
    }
}

impl Sale for Older {
    fn new(number: u64) -> Self {
        Self { number, check: check(number) }
    }

    fn number(&self) -> Option<u64> {
        (self.check == check(self.number)).then_some(self.number)
    }
}

impl Sale for Newer {
    fn new(number: u64) -> Self {
        Self { check: check(number), number, note: "of the newer build".to_owned() }
    }

    fn number(&self) -> Option<u64> {
        (self.check == check(self.number)).then_some(self.number)
    }
}

/// One ownership, as its owner tells of it.
#[derive(Debug, Clone, Copy)]
pub struct Term {
    /// Its epoch.
    pub epoch: u64,
    /// The last write before it, and its own last write.
    pub writes: (u64, u64),
    /// When its first commit began and had returned, in nanoseconds of `CLOCK_MONOTONIC`.
    pub first_ns: (u64, u64),
    /// The same of its last.
    pub last_ns: (u64, u64),
}

/// What a reader has met.
#[derive(Debug, Clone, Copy, Default)]
pub struct Met {
    /// Values of its own build, or of one that it can decode.
    pub decoded: u64,
    /// Values of which it was told that they are of another build.
    pub changed: u64,
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, writes: (left, last), first_ns: first, last_ns } = self;
        write!(f, "{epoch} {left} {last} {} {} {} {}", first.0, first.1, last_ns.0, last_ns.1)
    }
}

impl FromStr for Term {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let [epoch, left, last, a, b, c, d] = numbers(line)?;
        Ok(Self { epoch, writes: (left, last), first_ns: (a, b), last_ns: (c, d) })
    }
}

impl FromStr for Met {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let [decoded, changed] = numbers(line)?;
        Ok(Self { decoded, changed })
    }
}

fn numbers<const N: usize>(line: &str) -> Result<[u64; N], String> {
    let numbers: Option<Vec<u64>> = line.split(' ').map(|word| word.parse().ok()).collect();
    numbers.and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| format!("no {N} numbers: {line:?}"))
}

/// The program, in the build whose values are `S`.
///
/// # Errors
/// Whatever goes wrong.
pub fn main<S: Sale>() -> Outcome {
    match env::args().nth(1).as_deref() {
        Some("own") => own::<S>(),
        Some("read") => read::<S>(),
        _ => Err("usage: older|newer own|read".into()),
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn own<S: Sale>() -> Outcome {
    let worker = Worker::from_env(WORKER)?;
    let inbox = transfers(&worker, TABLE)?;
    tell("ready")?;
    for transfer in inbox {
        let left = transfer.bequest::<u64>()?.unwrap_or(0);
        let mut sales = transfer.accept::<u64, Versioned<S>>()?;
        let first_ns = commit(&mut sales, left + 1)?;
        everything_is_there(&sales, left + 1)?;
        let (mut last, mut last_ns) = (left + 1, first_ns);
        while !sales.is_recalled() {
            last += 1;
            last_ns = commit(&mut sales, last)?;
        }
        let epoch = sales.epoch();
        sales.release()?;
        tell(&Term { epoch, writes: (left, last), first_ns, last_ns }.to_string())?;
    }
    Ok(())
}

/// Commits a write, and says when that began and had returned.
fn commit<S: Sale>(sales: &mut Writer<u64, Versioned<S>>, number: u64) -> Outcome<(u64, u64)> {
    let begun_ns = now_ns();
    let mut transaction = sales.transaction();
    transaction.insert(&(number % KEYS), &S::new(number).into())?;
    transaction.bequeath(&number)?;
    transaction.commit()?;
    Ok((begun_ns, now_ns()))
}

/// Every key has the value of its newest write, up to `last`.
fn everything_is_there<S: Sale>(sales: &Writer<u64, Versioned<S>>, last: u64) -> Outcome {
    for number in last.saturating_sub(KEYS) + 1..=last {
        let key = number % KEYS;
        match sales.get(&key) {
            Err(ReadError::SchemaChanged { .. }) => {}
            found => match found?.and_then(|sale| sale.number()) {
                Some(found) if found == number => {}
                found => return Err(format!("key {key} has {found:?}, not {number}").into()),
            },
        }
    }
    Ok(())
}

fn read<S: Sale>() -> Outcome {
    let client = Client::from_env()?;
    let sales: Reader<u64, Versioned<S>> = client.reader(TABLE)?;
    let enough = Arc::new(AtomicBool::new(false));
    thread::spawn({
        let enough = Arc::clone(&enough);
        move || {
            let _ = std::io::stdin().read(&mut [0]);
            enough.store(true, Ordering::Relaxed);
        }
    });
    tell("ready")?;
    let mut met = Met::default();
    let mut newest = vec![0; KEYS as usize];
    while !enough.load(Ordering::Relaxed) {
        for key in 0..KEYS {
            let seen = &mut newest[key as usize];
            match sales.get(&key) {
                Ok(None) if *seen == 0 => {}
                Ok(Some(sale)) => {
                    let number = sale.number().filter(|number| number % KEYS == key && *number >= *seen);
                    *seen = number.ok_or_else(|| format!("key {key} has a wrong value after {seen}"))?;
                    met.decoded += 1;
                }
                Err(ReadError::SchemaChanged { found, .. }) if found.ends_with("version 2") => {
                    met.changed += 1
                }
                other => {
                    other?;
                    return Err(format!("key {key} is gone").into());
                }
            }
        }
    }
    Ok(tell(&format!("{} {}", met.decoded, met.changed))?)
}
