//! Every store: whoever stores to a table (its owner; the manager that pins a version) is killed after each store of
//! everything it does, and at each of these cuts
//!
//! 1. readers see each key as before or as after, and the bequest too; whoever reads as of a version, with a pin or at a
//!    glimpse, sees exactly that one;
//! 2. recovery gives all of before (the commit was not stored) or all of after, and `verify` finds nothing wrong;
//! 3. the heir's next operations work, in full batches, with the pins that there are and then without, and `verify` finds
//!    nothing wrong after them;
//! 4. recovery, itself killed after each of its stores and repeated, ends in the same words, and readers and snapshots
//!    at those cuts see what they may see too.
//!
//! | file | what it has |
//! | --- | --- |
//! | `scene` | a table whose every store is tried |
//! | `check` | what must hold at each cut |
//! | `operation` | what is done to the table |
//! | `engine` | what the engine did for it, by name |
//! | `states` | the states that were tried, counted, and how many there are at least |
//! | `sets`, `trees`, `bags` | scenes of everything that each kind can do |
//! | `clears`, `expiry`, `compaction` | scenes of these |
//! | `pinned` | scenes with pins |
//!
//! `cargo test -p heirloom-protocol --lib cuts -- --nocapture` prints the numbers; `HEIRLOOM_EFFORT=10` makes them larger.

mod bags;
mod check;
mod clears;
mod compaction;
mod engine;
mod expiry;
mod operation;
mod pinned;
mod scene;
mod sets;
mod states;
mod trees;
