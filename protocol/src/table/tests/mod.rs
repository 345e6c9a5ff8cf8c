//! Tests of the engine on heap memory.
//!
//! | file | what is shown |
//! | --- | --- |
//! | `cuts` | the owner may die at any store, and so may who recovers |
//! | `pauses` | a reader may stand still at any load while the owner goes on |
//! | `model` | random operations do what a plain map does |
//! | `fencing` | who may write, and who goes on after a panic |
//! | `full` | at the limit |
//! | `large` | the largest and the smallest, and reads that take longer than the horizon rests |
//! | `garbage` | whatever the bytes say, calls end, with an answer or an error |
//! | `support` | what these share |
//!

mod cuts;
mod fencing;
mod full;
mod garbage;
mod large;
mod model;
mod pauses;
mod support;
