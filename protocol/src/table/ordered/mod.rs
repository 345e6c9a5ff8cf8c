//! The ordered index: kinds `ordered_set`, and, on composite keys, `bag` and `duplicate_bag`.

mod range;

/// In which order a range is visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// The least key first.
    #[default]
    Ascending,
    /// The greatest key first.
    Descending,
}
