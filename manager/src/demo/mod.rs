//! The demonstration.
#![allow(dead_code)]
mod account;
mod cars;
mod events_file;
mod expectation;
mod notes;
mod picture;
mod report;
mod stream;
const MAX_EVENTS: u64 = 100_000_000;
