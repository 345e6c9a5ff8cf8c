//! What every Heirloom process must agree on.
//!
//! - [`table`]: the bytes of a table in shared memory, and the engine that reads and writes them.
//! - [`region`]: where those bytes are: a mapped segment, the heap, or a recording of every store.
//! - [`message`]: what is said on the control socket.
//! - [`codec`]: messages as bytes.
//! - [`ownership`]: who owns a table, as a pure state machine.
//! - [`sys`]: the system calls behind all this.
//! - [`rules`]: the rules that the code quotes by number (R7, H12).
//!
//! Unsafe code lives in [`region`] and [`sys`] only.
#![deny(unsafe_code)]

pub mod codec;
pub mod message;
pub mod ownership;
pub mod region;
pub mod rules;
mod sync;
#[cfg(target_os = "linux")]
pub mod sys;
pub mod table;
