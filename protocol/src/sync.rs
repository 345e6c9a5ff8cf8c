//! The memory orderings that the engine relies on, in one place, so that loom can run the real engine: with
//! `--cfg loom` the fences are loom's, and a region whose words are loom's uses the same two orderings as all others.
//!
//! The tests that do so are in `table/tests/orderings`.

use std::sync::atomic::Ordering;

#[cfg(loom)]
pub(crate) use loom::sync::atomic::fence;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::fence;

/// How each shared word is loaded (R5).
pub(crate) const LOAD: Ordering = Ordering::Acquire;
/// How each shared word is stored, payload too: then program order is the order in which others see it (R5).
pub(crate) const STORE: Ordering = Ordering::Release;
