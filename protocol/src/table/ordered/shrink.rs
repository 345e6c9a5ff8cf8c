//! How the tree gives up entries and nodes: housekeeping, in commits of its own.
//!
//! Taking an entry out of a leaf stores the permutation without it (and the leaf's begin version, which keeps the lane from
//! being used again before the horizon has passed). It needs no memory, so it works in a full table (R15). A leaf
//! that has few entries left is then *tended*: an empty one goes, one that fits into a neighbour together with it is
//! merged, and likewise the inner nodes above; a root with one child gives its place to the child. A range that
//! loses its node goes to a neighbour, so no separator is ever made here. At most one merge a commit.
//!
//! A merge needs memory for the copies and may find none; then it waits. So while the leaves are nearly empty in
//! the mean, housekeeping also walks along all of them, a few for each write.

use super::find::{Path, Step};
use super::node::{self, CHILDREN, InnerImage, LANES, LeafImage, Permutation, Separator, Tree};
use crate::region::Region;
use crate::table::bucket::Slot;
use crate::table::class::Unit;
use crate::table::entry::NodeKind;
use crate::table::error::WriteError;
use crate::table::layout::TREE;
use crate::table::writer::TableWriter;

/// Neighbours are merged where they fill no more than three fifths of a node: far enough from splitting that neither
/// undoes the other.
const MERGED_LANES: usize = LANES * 3 / 5;
const MERGED_CHILDREN: usize = CHILDREN * 3 / 5;
/// A leaf with so many entries is looked at when it loses one.
const FEW_LANES: usize = LANES / 3;
/// Below so many entries a leaf in the mean, all leaves are looked at, one after the other.
const FEWEST_LANES: u64 = 3;
/// After a step that found no room, so many commits pass before the next is tried.
const PAUSE: u64 = 64;

/// What the owner remembers between the steps; nothing is lost with it.
#[derive(Debug, Default)]
pub(in crate::table) struct Tending {
    /// A key whose leaf lost an entry and has few.
    due: Option<Vec<u8>>,
    /// Where the walk along the leaves has come to.
    cursor: Vec<u8>,
}

impl<R: Region> TableWriter<R> {
    /// Takes a lane's entry out of its leaf.
    pub(in crate::table) fn empty_lane(&mut self, slot: Slot) -> Result<(), WriteError> {
        let leaf = slot.bucket;
        let permutation = Permutation::read(self.reader.region(), leaf)?;
        let position = permutation
            .lanes()
            .position(|lane| lane == slot.lane)
            .ok_or_else(|| WriteError::Corrupt("a lane that is not in its leaf".into()))?;
        self.stage.publish(leaf, NodeKind::Leaf.header(self.version + 1));
        self.stage.publish(leaf + node::COUNT, permutation.without(position).0);
        if permutation.count() - 1 <= FEW_LANES {
            self.read_key(slot.entry(self.reader.region()))?;
            self.tending.due = Some(self.key_buffer.clone());
        }
        Ok(())
    }

    /// Takes one step towards a tree of well filled nodes; false where none is due, or none is possible now.
    #[inline]
    pub(in crate::table) fn tend_tree(&mut self) -> bool {
        if self.version < self.growth_waits_until {
            return false;
        }
        if let Some(key) = self.tending.due.take() {
            return self.try_tending(&key);
        }
        if !self.tree_is_sparse() {
            return false;
        }
        let key = std::mem::take(&mut self.tending.cursor);
        let done = self.try_tending(&key);
        self.tending.cursor = if done { key } else { self.next_leaf(&key).unwrap_or_default() };
        done
    }

    fn tree_is_sparse(&self) -> bool {
        let leaves = u64::from(self.tree_nodes().leaves);
        leaves > 1 && u64::from(self.counts().slots) < leaves * FEWEST_LANES
    }

    #[inline(never)]
    fn try_tending(&mut self, key: &[u8]) -> bool {
        self.tend_in_a_commit(key).unwrap_or_else(|_| {
            // This can wait, and nothing is lost. What is wrong shows at the next write.
            self.growth_waits_until = self.version + PAUSE;
            false
        })
    }

    fn tend_in_a_commit(&mut self, key: &[u8]) -> Result<bool, WriteError> {
        let staged = self.tend(key).and_then(|staged| {
            if staged {
                self.commit()?;
            }
            Ok(staged)
        });
        staged.inspect_err(|_| self.abandon())
    }

    /// For a write that found no memory: looks for a leaf to tend until there is one, all around if need be.
    pub(in crate::table) fn tend_when_short(&mut self) -> Result<bool, WriteError> {
        // However many leaves the header claims, there are no more than blocks.
        let leaves = (self.tree_nodes().leaves as usize).min(self.most_blocks());
        for _ in 0..leaves {
            if !self.tree_is_sparse() {
                break;
            }
            let key = std::mem::take(&mut self.tending.cursor);
            match self.tend_in_a_commit(&key) {
                Ok(true) => {
                    self.tending.cursor = key;
                    return Ok(true);
                }
                Ok(false) => self.tending.cursor = self.next_leaf(&key)?,
                Err(WriteError::TableFull { .. } | WriteError::OutOfMemory(_)) => {
                    // What is ready may be forgotten now, and must be known again for the write's next try.
                    self.move_horizon();
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// The least key of the leaf after the one that has a key; of the first leaf, where that was the last.
    fn next_leaf(&self, key: &[u8]) -> Result<Vec<u8>, WriteError> {
        let (region, layout) = (self.reader.region(), self.reader.layout());
        let Some(path) = layout.path(region, region, key)? else { return Ok(Vec::new()) };
        for step in path.steps().iter().rev() {
            if step.index < node::separators(region, step.node)? {
                return Ok(Separator::read(region, step.node, step.index).copy(layout, region)?);
            }
        }
        Ok(Vec::new())
    }

    /// Stages what is to be done about the leaf that has a key, or about the nodes above it; false where nothing is.
    fn tend(&mut self, key: &[u8]) -> Result<bool, WriteError> {
        let (region, layout) = (self.reader.region(), *self.reader.layout());
        let Some(path) = layout.path(region, region, key)? else { return Ok(false) };
        let Some(parent) = path.steps().last().copied() else { return Ok(false) };
        let leaf = LeafImage::read(region, layout.block(path.leaf))?;
        if leaf.lanes().is_empty() {
            self.free_leaf(path.leaf)?;
            self.remove_child(&path, path.steps().len())?;
            return Ok(true);
        }
        let siblings = InnerImage::read(region, parent.node)?;
        for left in neighbours(&parent, &siblings) {
            let [one, other] = [left, left + 1].map(|at| siblings.children()[at]);
            let mut merged = LeafImage::read(region, layout.block(one))?;
            let right = LeafImage::read(region, layout.block(other))?;
            if merged.lanes().len() + right.lanes().len() <= MERGED_LANES {
                right.lanes().iter().for_each(|(prefix, unit)| merged.push(*prefix, *unit));
                self.free_leaf(one)?;
                self.free_leaf(other)?;
                let merged = self.new_leaf(&merged)?;
                let between = self.replace_pair(&path, path.steps().len(), siblings, left, merged)?;
                self.free_separator(between)?;
                return Ok(true);
            }
        }
        self.tend_inner_nodes(&path)
    }

    /// The same for the inner nodes on the way to a leaf, from below.
    fn tend_inner_nodes(&mut self, path: &Path) -> Result<bool, WriteError> {
        let (region, layout) = (self.reader.region(), *self.reader.layout());
        for level in (1..path.steps().len()).rev() {
            let parent = path.steps()[level - 1];
            let siblings = InnerImage::read(region, parent.node)?;
            for left in neighbours(&parent, &siblings) {
                let [one, other] = [left, left + 1].map(|at| siblings.children()[at]);
                let mut merged = InnerImage::read(region, layout.block(one))?;
                let right = InnerImage::read(region, layout.block(other))?;
                if merged.children().len() + right.children().len() <= MERGED_CHILDREN {
                    merged.join(siblings.separator(left), &right);
                    self.free_inner(one)?;
                    self.free_inner(other)?;
                    let merged = self.new_inner(&merged)?;
                    // The separator between the two is in the merged node now.
                    self.replace_pair(path, level, siblings, left, merged)?;
                    return Ok(true);
                }
            }
        }
        let root = path.steps()[0];
        let only_child = node::separators(region, root.node)? == 0;
        if only_child {
            self.lower_root(path, node::child(region, root.node, 0))?;
        }
        Ok(only_child)
    }

    /// Puts one node where two neighbours are, `level` steps below the root; says which separator is left over.
    fn replace_pair(
        &mut self,
        path: &Path,
        level: usize,
        mut siblings: InnerImage,
        left: usize,
        merged: Unit,
    ) -> Result<Separator, WriteError> {
        siblings.set_child(left, merged);
        let between = siblings.remove(left + 1);
        self.replace_parent(path, level, &siblings)?;
        Ok(between)
    }

    /// Takes the node `level` steps below the root out of its parent, and the parent with it where it was the last.
    fn remove_child(&mut self, path: &Path, level: usize) -> Result<(), WriteError> {
        let Some(step) = level.checked_sub(1).map(|level| path.steps()[level]) else {
            self.stage.publish(TREE, 0);
            return Ok(());
        };
        let mut siblings = InnerImage::read(self.reader.region(), step.node)?;
        if siblings.children().len() == 1 {
            self.free_inner(step.unit)?;
            return self.remove_child(path, level - 1);
        }
        let between = siblings.remove(step.index);
        self.free_separator(between)?;
        self.replace_parent(path, level, &siblings)
    }

    /// Puts a node with fewer children where the parent of what is `level` steps below the root is.
    fn replace_parent(&mut self, path: &Path, level: usize, image: &InnerImage) -> Result<(), WriteError> {
        if let ([only], 1) = (image.children(), level) {
            return self.lower_root(path, *only);
        }
        self.free_inner(path.steps()[level - 1].unit)?;
        let copy = self.new_inner(image)?;
        self.replace_child(path, level - 1, copy)
    }

    /// Makes the only child of the root the root.
    fn lower_root(&mut self, path: &Path, only_child: Unit) -> Result<(), WriteError> {
        self.free_inner(path.tree.root)?;
        self.stage.publish(TREE, Tree { root: only_child, height: path.tree.height - 1 }.to_word());
        Ok(())
    }

    fn free_separator(&mut self, separator: Separator) -> Result<(), WriteError> {
        if separator.long.is_none() {
            return Ok(());
        }
        let bytes = node::long_bytes(self.reader.region(), self.reader.layout().block(separator.long))?;
        self.free_node(separator.long, node::separator_class(bytes))
    }
}

/// The pairs of neighbours under one parent that have the child of a step: the first of each.
fn neighbours(step: &Step, siblings: &InnerImage) -> impl Iterator<Item = usize> {
    let before = step.index.checked_sub(1);
    let after = (step.index + 1 < siblings.children().len()).then_some(step.index);
    before.into_iter().chain(after)
}
