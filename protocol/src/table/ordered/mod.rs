//! The ordered index: kinds `ordered_set`, and, on composite keys, `bag` and `duplicate_bag`.

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
