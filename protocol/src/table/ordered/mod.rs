//! The ordered index: kinds `ordered_set`, and, on composite keys, `bag` and `duplicate_bag`.
//!
//! ```text
//!  TREE ──► inner node ──► inner node ──► leaf ──► entry          all leaves at one height, no links between neighbours
//!             separators    separators    lanes in the order of
//!             + children    + children    their permutation
//! ```
//!
//! | file | what it has |
//! | --- | --- |
//! | `node` | leaves, inner nodes, separators, with their bytes |
//! | `find` | from the root to a key's lane, and why a reader's miss is one |
//! | `get` | a key's value |
//! | `range`, `walk` | ranges both ways: what is asked, and how it is answered |
//! | `insert` | a lane for a new key; copies and splits |
//! | `shrink` | a lane given up; merges, and the end of empty nodes |
//! | `check` | what `verify` checks |
//!
//! An overwrite is one logged store, to the lane; an insert is two, the lane and the permutation, while the leaf has a free
//! lane. All else prepares copies and publishes them by one store. Lanes are used again, where they were free before the
//! horizon: then an insert into a table that is full needs no memory for its index, and keys that come and go at one place
//! make no copies.

mod check;
mod find;
mod get;
mod insert;
mod node;
mod range;
mod shrink;
mod walk;

#[cfg(test)]
pub(super) use node::leaf_class;
pub(super) use range::Span;
pub(super) use shrink::Tending;
pub use walk::after_prefix;
pub(super) use walk::below;

/// In which order a range is visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// The least key first.
    #[default]
    Ascending,
    /// The greatest key first.
    Descending,
}
