//! From the root to a key's lane.
//!
//! **What a reader may rely on.** A node's place in the tree has the same range of keys for as long as a pointer leads
//! there: where ranges change (a split, a merge), nodes are replaced by copies up to the lowest ancestor that keeps its
//! own, and one store there publishes them. The nodes that were replaced stay as they are until the horizon has passed.
//! So whatever pointers a reader met, old or new, the leaf that it comes to had all keys of its range at some moment since
//! the reader began, and a miss needs the horizon check and nothing else. Within a leaf, one load of the permutation
//! decides which keys are there.
//!
//! The searches do not branch on what they compare: all steps of a binary search are done, whatever the count.

use std::cmp::Ordering;

use super::node::{self, MAX_HEIGHT, Permutation, Separator, Tree, lane_prefix_word, prefix_of};
use crate::region::Region;
use crate::table::bucket::{Slot, View};
use crate::table::class::Unit;
use crate::table::entry::{Entry, NodeKind};
use crate::table::index::{Found, Nonsense};
use crate::table::layout::Layout;

/// Where a key is, or would be.
#[derive(Debug, Clone, Copy)]
pub(in crate::table) struct Place {
    pub(super) leaf: u64,
    pub(super) permutation: Permutation,
    /// How many keys of the leaf are below it.
    pub(super) position: usize,
}

impl Layout {
    /// Looks a key up. `region` has the entries, `view` the nodes (which a transaction may have changed).
    #[inline]
    pub(in crate::table) fn find_ordered<R: Region, V: View>(
        &self,
        region: &R,
        view: &V,
        key: &[u8],
    ) -> Result<Option<Found>, Nonsense> {
        Ok(self.find_place(region, view, key)?.and_then(|(_, found)| found))
    }

    /// The same, and where the key would be; none where there is no leaf at all.
    #[inline]
    pub(super) fn find_place<R: Region, V: View>(
        &self,
        region: &R,
        view: &V,
        key: &[u8],
    ) -> Result<Option<(Place, Option<Found>)>, Nonsense> {
        let Some(tree) = Tree::read(view)? else { return Ok(None) };
        let prefix = prefix_of(key);
        let mut block = self.block(tree.root);
        for level in (0..tree.height).rev() {
            let index = self.child_for(region, view, block, key, prefix)?;
            block = self.child_block(view, block, index)?;
            // All lines that a search may touch at once, and not one after the other: those of a leaf are rarely in a
            // cache, the separators of an inner node often not in the nearest.
            let lines = if level == 0 { 3 } else { 5 };
            (1..lines).for_each(|line| region.prefetch(block + 8 * line));
        }
        self.find_in_leaf(region, view, block, key, prefix).map(Some)
    }

    /// The first word of a child.
    #[inline(always)]
    pub(super) fn child_block<V: View>(&self, view: &V, node: u64, index: usize) -> Result<u64, Nonsense> {
        let unit = node::child(view, node, index);
        if unit.is_none() { Err(Nonsense("an inner node without a child")) } else { Ok(self.block(unit)) }
    }

    /// Which child of an inner node has a key: how many separators are not above it.
    #[inline(always)]
    pub(super) fn child_for<R: Region, V: View>(
        &self,
        region: &R,
        view: &V,
        node: u64,
        key: &[u8],
        prefix: u64,
    ) -> Result<usize, Nonsense> {
        let separators = node::separators(view, node)?;
        let mut index = 0;
        for step in [16, 8, 4, 2, 1] {
            let next = index + step;
            let not_above = (next <= separators) & (node::separator_prefix(view, node, next - 1) <= prefix);
            index += step * usize::from(not_above);
        }
        if index > 0 && node::separator_prefix(view, node, index - 1) == prefix {
            return self.child_among_equals(region, view, node, index, key, prefix);
        }
        Ok(index)
    }

    /// The same, where the last of `index` separators has the key's prefix: long ones may be above the key.
    #[cold]
    fn child_among_equals<R: Region, V: View>(
        &self,
        region: &R,
        view: &V,
        node: u64,
        index: usize,
        key: &[u8],
        prefix: u64,
    ) -> Result<usize, Nonsense> {
        let mut low =
            (0..index).rfind(|at| node::separator_prefix(view, node, *at) != prefix).map_or(0, |at| at + 1);
        let mut high = index;
        while low < high {
            let middle = low.midpoint(high);
            match Separator::read(view, node, middle).compare(self, region, key, prefix)? {
                Ordering::Greater => high = middle,
                _ => low = middle + 1,
            }
        }
        Ok(low)
    }

    #[inline(always)]
    pub(super) fn find_in_leaf<R: Region, V: View>(
        &self,
        region: &R,
        view: &V,
        leaf: u64,
        key: &[u8],
        prefix: u64,
    ) -> Result<(Place, Option<Found>), Nonsense> {
        let permutation = self.permutation(view, leaf)?;
        let prefix_at = |position: usize| view.word(lane_prefix_word(leaf, permutation.lane(position)));
        let mut position = 0;
        for step in [8, 4, 2, 1] {
            let next = position + step;
            let below = (next <= permutation.count()) & (prefix_at(next - 1) < prefix);
            position += step * usize::from(below);
        }
        let place = Place { leaf, permutation, position };
        if position == permutation.count() || prefix_at(position) != prefix {
            return Ok((place, None));
        }
        let slot = Slot { bucket: leaf, lane: permutation.lane(position) };
        let unit = slot.entry(view);
        let block = self.block(unit);
        if let Some(entry) = Entry::read_small(region, block, key) {
            return Ok((place, Some(Found { slot, unit, block, entry })));
        }
        self.find_among_equals(region, view, place, key, prefix)
    }

    /// Which lanes of a leaf are in use, where it is one.
    #[inline(always)]
    pub(super) fn permutation<V: View>(&self, view: &V, leaf: u64) -> Result<Permutation, Nonsense> {
        if !NodeKind::Leaf.is_of(view.word(leaf)) {
            return Err(Nonsense("a child that is no leaf"));
        }
        Permutation::read(view, leaf)
    }

    /// The same, where other keys of the leaf have the key's prefix, or its entry is a large one.
    #[cold]
    fn find_among_equals<R: Region, V: View>(
        &self,
        region: &R,
        view: &V,
        place: Place,
        key: &[u8],
        prefix: u64,
    ) -> Result<(Place, Option<Found>), Nonsense> {
        let Place { leaf, permutation, position } = place;
        let lane = |position: usize| permutation.lane(position);
        let mut low = position;
        let mut high = (position..permutation.count())
            .find(|at| view.word(lane_prefix_word(leaf, lane(*at))) != prefix)
            .unwrap_or(permutation.count());
        while low < high {
            let middle = low.midpoint(high);
            let slot = Slot { bucket: leaf, lane: lane(middle) };
            let unit = slot.entry(view);
            let (block, entry) = self.entry_of(region, unit)?;
            match node::compare(region, entry.key_at(block), entry.key_bytes, key) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => {
                    return Ok((
                        Place { position: middle, ..place },
                        Some(Found { slot, unit, block, entry }),
                    ));
                }
            }
        }
        Ok((Place { position: low, ..place }, None))
    }

    /// The entry that a lane points to.
    #[inline]
    pub(super) fn entry_of<R: Region>(&self, region: &R, unit: Unit) -> Result<(u64, Entry), Nonsense> {
        let block = self.block(unit);
        match Entry::read(region, block) {
            Some(entry) if !unit.is_none() => Ok((block, entry)),
            _ => Err(Nonsense("a lane points to what is no entry")),
        }
    }
}

/// The way from the root to a leaf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    steps: [Step; MAX_HEIGHT as usize],
    pub(super) tree: Tree,
    pub(super) leaf: Unit,
    /// Whether the leaf is the last of the tree.
    pub(super) is_last: bool,
}

/// An inner node, and which of its children the way takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) unit: Unit,
    pub(super) node: u64,
    pub(super) index: usize,
}

impl Path {
    /// The steps from the root on.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps[..self.tree.height as usize]
    }
}

impl Layout {
    /// The way to the leaf that has a key, or would have it; none where there is no leaf at all.
    pub(super) fn path<R: Region, V: View>(
        &self,
        region: &R,
        view: &V,
        key: &[u8],
    ) -> Result<Option<Path>, Nonsense> {
        let Some(tree) = Tree::read(view)? else { return Ok(None) };
        let prefix = prefix_of(key);
        let nowhere = Step { unit: Unit::NONE, node: 0, index: 0 };
        let mut path = Path { steps: [nowhere; MAX_HEIGHT as usize], tree, leaf: tree.root, is_last: true };
        for step in &mut path.steps[..tree.height as usize] {
            let (unit, node) = (path.leaf, self.block(path.leaf));
            let index = self.child_for(region, view, node, key, prefix)?;
            *step = Step { unit, node, index };
            path.is_last &= index == node::separators(view, node)?;
            path.leaf = node::child(view, node, index);
            if path.leaf.is_none() {
                return Err(Nonsense("an inner node without a child"));
            }
        }
        Ok(Some(path))
    }
}
