//! What `verify` checks of the ordered index: invariants 4 to 7 of [`crate::table`].
//!
//! All leaves are at the height that the root word says; each node and each long separator is one block, and noted once, so
//! the walk ends whatever the bytes say. Separators and keys are in order, and within the separators above them; each
//! separator's prefix word is that of its bytes, and it has a block exactly if it needs one.

use super::node::{
    Permutation, Separator, Tree, child, inner_class, lane_prefix_word, leaf_class, long_bytes, prefix_of,
    separator_class, separators,
};
use crate::region::Region;
use crate::table::bucket::Slot;
use crate::table::class::Unit;
use crate::table::entry::{NodeKind, begin_of};
use crate::table::error::OpenError;
use crate::table::layout::{TREE_NODES, TreeNodes};
use crate::table::verify::{Check, Found, Use, wrong};

/// The keys that a node may have: from the one on, and below the other.
#[derive(Debug, Clone, Copy)]
struct Span<'s> {
    from: Option<&'s [u8]>,
    to: Option<&'s [u8]>,
}

impl Span<'_> {
    fn has(&self, key: &[u8]) -> bool {
        self.from.is_none_or(|from| from <= key) && self.to.is_none_or(|to| key < to)
    }
}

impl<R: Region> Check<'_, R> {
    /// 4 to 7: each node, from the root on.
    pub(in crate::table) fn tree(&mut self) -> Result<Found, OpenError> {
        let mut found = Found::default();
        if let Some(tree) = Tree::read(self.region)? {
            self.node(tree.root, tree.height, Span { from: None, to: None }, &mut found)?;
        }
        let nodes = TreeNodes::from_word(self.region.load(TREE_NODES));
        if (u64::from(nodes.leaves), u64::from(nodes.inners)) != (self.report.leaves, self.report.inner_nodes)
        {
            return Err(wrong(format!(
                "6: {nodes:?}, and there are {} and {}",
                self.report.leaves, self.report.inner_nodes
            )));
        }
        Ok(found)
    }

    fn node(&mut self, unit: Unit, height: u32, span: Span<'_>, found: &mut Found) -> Result<(), OpenError> {
        let (kind, class) =
            if height == 0 { (NodeKind::Leaf, leaf_class()) } else { (NodeKind::Inner, inner_class()) };
        self.note(unit, class, Use::Node)?;
        let header = self.region.load(self.layout.block(unit));
        if !kind.is_of(header) || begin_of(header) > self.applied {
            return Err(wrong(format!("4: the block at unit {} is no {kind:?} of height {height}", unit.0)));
        }
        if height == 0 { self.leaf(unit, span, found) } else { self.inner(unit, height, span, found) }
    }

    fn inner(&mut self, unit: Unit, height: u32, span: Span<'_>, found: &mut Found) -> Result<(), OpenError> {
        self.report.inner_nodes += 1;
        let node = self.layout.block(unit);
        let count = separators(self.region, node)?;
        let mut from = span.from.map(<[u8]>::to_vec);
        for index in 0..count {
            let separator = self.separator(Separator::read(self.region, node, index))?;
            if !span.has(&separator) || from.as_ref().is_some_and(|from| *from >= separator) {
                return Err(wrong(format!(
                    "5: separator {index} of the node at unit {} is not in order",
                    unit.0
                )));
            }
            let child_span = Span { from: from.as_deref(), to: Some(&separator) };
            self.node(child(self.region, node, index), height - 1, child_span, found)?;
            from = Some(separator);
        }
        let last = Span { from: from.as_deref(), to: span.to };
        self.node(child(self.region, node, count), height - 1, last, found)
    }

    fn separator(&mut self, separator: Separator) -> Result<Vec<u8>, OpenError> {
        if !separator.long.is_none() {
            if !self.layout.fits(separator.long, separator_class(0)) {
                return Err(wrong(format!("7: a separator at unit {}", separator.long.0)));
            }
            let block = self.layout.block(separator.long);
            let class = separator_class(long_bytes(self.region, block)?);
            self.note(separator.long, class, Use::Separator)?;
        }
        let bytes = separator.copy(self.layout, self.region)?;
        if prefix_of(&bytes) != separator.prefix || Separator::is_long(&bytes) == separator.long.is_none() {
            return Err(wrong(format!("5: {separator:?} is not what its bytes say")));
        }
        Ok(bytes)
    }

    fn leaf(&mut self, unit: Unit, span: Span<'_>, found: &mut Found) -> Result<(), OpenError> {
        self.report.leaves += 1;
        let leaf = self.layout.block(unit);
        let permutation = Permutation::read(self.region, leaf)?;
        if !permutation.is_sane() {
            return Err(wrong(format!("4: the leaf at unit {} has {permutation:?}", unit.0)));
        }
        let mut last: Option<Vec<u8>> = None;
        for lane in permutation.lanes() {
            let removed = self.indexed(Slot { bucket: leaf, lane }.entry(self.region))?;
            found.slots += 1;
            found.entries += u64::from(!removed);
            let in_order = span.has(&self.key) && last.as_ref().is_none_or(|last| *last < self.key);
            if !in_order || self.region.load(lane_prefix_word(leaf, lane)) != prefix_of(&self.key) {
                return Err(wrong(format!("5: lane {lane} of the leaf at unit {} is not in order", unit.0)));
            }
            last.get_or_insert_default().clone_from(&self.key);
        }
        Ok(())
    }
}
