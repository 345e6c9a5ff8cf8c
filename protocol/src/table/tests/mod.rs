//! Tests of the engine on heap memory.
//!
//! | file | what is shown |
//! | --- | --- |
//! | `cuts` | whoever stores may die at any store, and so may who recovers |
//! | `pauses` | a reader may stand still at any load while the owner goes on |
//! | `model` | random operations do what a plain map does |
//! | `operations`, `operations_model` | looking and writing in one step; entries that expire; the same against a map that expires | |
//! | `ordered`, `bags` | the ordered index does what a `BTreeMap` does, and bags what lists of values do |
//! | `bulk` | many entries at once: clear, load, what is expired, a million writes in one commit |
//! | `prefetch` | what is fetched ahead is what the reads then look at |
//! | `compaction` | memory comes back, to other classes and to the host |
//! | `snapshots` | a pinned version stays as it was, and holds back what it must and no more |
//! | `waiting` | what waits for pins goes when they do, in whatever order, and costs little |
//! | `fencing` | who may write, and who goes on after a panic |
//! | `full` | at the limit |
//! | `large` | the largest and the smallest, and reads that take longer than the horizon rests |
//! | `garbage` | whatever the bytes say, calls end, with an answer or an error |
//! | `orderings` | every order of loads and stores of a few threads, under loom |
//! | `threads` | owner and readers at full speed |
//! | `changes` | what whoever follows the table is told |
//! | `support` | what these share |
//!
//! Those that draw samples draw more with `HEIRLOOM_EFFORT=50`. That they would find a fault is shown by planting some: see
//! `tests/faults` beside this crate.

mod bags;
mod bulk;
mod changes;
mod compaction;
mod cuts;
mod fencing;
mod full;
mod garbage;
mod large;
mod model;
mod operations;
mod operations_model;
mod ordered;
#[cfg(loom)]
mod orderings;
mod pauses;
mod prefetch;
mod snapshots;
mod support;
mod threads;
mod waiting;
