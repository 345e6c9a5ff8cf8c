//! Readers interleaved with the owner, step by step: a reader starts at one store, is paused before one of its loads while the
//! owner goes on to a later store, goes on itself, is paused once more, and finishes. Every start, every load of a get for
//! the first pause, many loads for the second, many stores to go on to; the owner commits, reuses memory as early as it
//! may, splits and merges, moves entries and gives memory back meanwhile.
//!
//! What the reader answers must be what the key had at some moment between its start and its end. Each write has a
//! value of its own, so an answer from another time, or put together from two, shows. A scan must meet each key that
//! stands throughout exactly once. Whoever reads as of a pinned version answers what was there then, or that the pin is
//! gone, and that only where it is.
//!
//! | file | what it has |
//! | --- | --- |
//! | `recorded` | what an owner does while its stores are noted, and what each key had meanwhile |
//! | `paused` | the memory that a reader sees who stands still while the owner goes on |
//! | `questions` | what a reader is asked, and what it may answer |
//! | `readers` | those of what is there now |
//! | `snapshots` | those of a pinned version |
//! | `pinning` | a manager who stands still in the middle of a pin while the owner reuses |

mod paused;
mod pinning;
mod questions;
mod readers;
mod recorded;
mod snapshots;
