//! How the tree takes a new key.
//!
//! | the leaf | what is stored | what is prepared |
//! | --- | --- | --- |
//! | has a free lane | the lane's offset, then the permutation | the lane's prefix |
//! | has few entries, but no free lane | the pointer to it | its copy |
//! | is full | the pointer to the lowest ancestor that keeps its place | two leaves, and copies of the inner nodes below that ancestor |
//!
//! Nodes that this commit prepared itself are changed where they are, by direct stores, and never logged (R4); a node
//! is known for one by its begin version. They are never freed by it either: until the commit stands, the
//! queue they came from goes through their links. A live node that is replaced is left alone from then on: the
//! pointers that were staged in it would lead from its range to nodes with a part of it, so they are taken back.
//!
//! Where keys come in ascending order, the last leaf is not divided but stays full, and so do the inner nodes above.

use super::find::{Path, Place};
use super::node::{
    self, CHILDREN, InnerImage, LANES, LeafImage, MAX_HEIGHT, Separator, Tree, inner_class, lane_prefix_word,
    leaf_class, prefix_of,
};
use crate::region::Region;
use crate::table::bucket::{Slot, View};
use crate::table::class::{Class, Unit};
use crate::table::entry::{NewEntry, begin_of};
use crate::table::error::WriteError;
use crate::table::index::Found;
use crate::table::layout::{TREE, TREE_NODES, TreeNodes};
use crate::table::writer::TableWriter;

/// A leaf without a free lane is copied instead of split while it has at most so many entries.
const ROOMY: usize = LANES * 3 / 4;

impl<R: Region> TableWriter<R> {
    /// Stages an insertion or an overwrite, and looks for the key once; whether it had a value.
    pub(in crate::table) fn prepare_insert_in_order(
        &mut self,
        new: &NewEntry<'_>,
    ) -> Result<bool, WriteError> {
        let place = match self.place_of(new.key)? {
            Some((_, Some(found))) => {
                self.overwrite(&found, new)?;
                return Ok(found.entry.is_there(self.reader.clock()));
            }
            place => place.map(|(place, _)| place),
        };
        let unit = self.prepare_entry(Unit::NONE, new)?;
        self.prepare_lane(place, new.key, unit)?;
        self.count(1, 1)?;
        Ok(false)
    }

    /// Where a key is, or would be, as the commit that is being prepared will leave it; none where there is no leaf at
    /// all.
    #[inline(never)]
    pub(in crate::table) fn place_of(
        &self,
        key: &[u8],
    ) -> Result<Option<(Place, Option<Found>)>, WriteError> {
        let (region, layout) = (self.reader.region(), self.reader.layout());
        if self.stage.is_empty() {
            return Ok(layout.find_place(region, region, key)?);
        }
        Ok(layout.find_place(region, &self.stage.over(region), key)?)
    }

    /// Points a lane to a new key's entry, which is prepared, at the key's place.
    pub(in crate::table) fn prepare_lane(
        &mut self,
        place: Option<Place>,
        key: &[u8],
        unit: Unit,
    ) -> Result<(), WriteError> {
        let Some(place) = place else {
            let mut image = LeafImage::EMPTY;
            image.push(prefix_of(key), unit);
            let root = self.new_leaf(&image)?;
            self.stage.publish(TREE, Tree { root, height: 0 }.to_word());
            return Ok(());
        };
        match self.free_lane(&place) {
            Some(lane) => {
                self.fill_lane(place, lane, prefix_of(key), unit);
                Ok(())
            }
            None => self.make_place(key, unit),
        }
    }

    /// A lane that no reader can have from any permutation: one that was never used, or one that was freed at or before
    /// the horizon.
    #[inline]
    fn free_lane(&self, place: &Place) -> Option<u64> {
        let used = place.permutation.used();
        if used < LANES {
            return Some(used as u64);
        }
        let changed_at = begin_of(self.reader.region().load(place.leaf));
        (place.permutation.count() < LANES && changed_at <= self.space.horizon())
            .then(|| place.permutation.unused_lane())
            .flatten()
    }

    /// The prefix is stored at once: a free lane is reusable memory (R1). The offset shares its word with a lane that may
    /// be in use, so it is logged; the permutation follows both.
    #[inline]
    fn fill_lane(&mut self, place: Place, lane: u64, prefix: u64, unit: Unit) {
        let leaf = place.leaf;
        self.reader.region().store(lane_prefix_word(leaf, lane), prefix);
        self.set_lane(Slot { bucket: leaf, lane }, unit);
        let permutation = place.permutation.with(place.position, lane);
        if self.is_prepared(leaf) {
            self.reader.region().store(leaf + node::COUNT, permutation.0);
        } else {
            self.stage.publish(leaf + node::COUNT, permutation.0);
        }
    }

    /// Points a lane to an entry.
    #[inline]
    pub(in crate::table) fn set_lane(&mut self, slot: Slot, unit: Unit) {
        let region = self.reader.region();
        let word = slot.offset_word();
        let value = slot.with_offset(self.stage.over(region).word(word), unit);
        if self.is_prepared(slot.bucket) { region.store(word, value) } else { self.stage.store(word, value) }
    }

    /// Whether this commit prepared a node that its tree has. (The begin of a live one is never that of a commit to
    /// come; what an abandoned commit left in a block says nothing, as the tree does not have it.)
    #[inline]
    pub(super) fn is_prepared(&self, node: u64) -> bool {
        begin_of(self.reader.region().load(node)) == self.version + 1
    }

    /// Makes room in a leaf without a free lane.
    #[cold]
    fn make_place(&mut self, key: &[u8], unit: Unit) -> Result<(), WriteError> {
        let (region, layout) = (self.reader.region(), *self.reader.layout());
        let view = self.stage.over(region);
        let missing = || WriteError::Corrupt("a leaf that is not there any more".into());
        let path = layout.path(region, &view, key)?.ok_or_else(missing)?;
        let leaf = layout.block(path.leaf);
        let (place, _) = layout.find_in_leaf(region, &view, leaf, key, prefix_of(key))?;
        let mut image = LeafImage::read(&view, leaf)?;
        let is_last = path.is_last && place.position == image.lanes().len();
        image.insert(place.position, prefix_of(key), unit);
        if image.lanes().len() <= ROOMY {
            let copy = self.new_leaf(&image)?;
            self.free_leaf(path.leaf)?;
            return self.replace_child(&path, path.steps().len(), copy);
        }
        let at = if is_last { image.lanes().len() - 1 } else { image.lanes().len() / 2 };
        let right = image.split(at);
        let separator = self.new_separator(image.lanes()[at - 1], right.lanes()[0])?;
        let right = self.new_leaf(&right)?;
        let left = if is_last {
            path.leaf
        } else if self.is_prepared(leaf) {
            image.write(self.reader.region(), leaf, self.version + 1);
            path.leaf
        } else {
            self.free_leaf(path.leaf)?;
            self.new_leaf(&image)?
        };
        self.add_child(&path, path.steps().len(), left, separator, right)
    }

    /// Puts two children where `path` has one, `level` steps below the root.
    fn add_child(
        &mut self,
        path: &Path,
        level: usize,
        left: Unit,
        separator: Separator,
        right: Unit,
    ) -> Result<(), WriteError> {
        let Some(step) = level.checked_sub(1).map(|level| path.steps()[level]) else {
            if path.tree.height == MAX_HEIGHT {
                return Err(self.full());
            }
            let mut image = InnerImage::of(left);
            image.push(separator, right);
            let root = self.new_inner(&image)?;
            self.stage.publish(TREE, Tree { root, height: path.tree.height + 1 }.to_word());
            return Ok(());
        };
        let mut image = InnerImage::read(&self.stage.over(self.reader.region()), step.node)?;
        let same_left = image.children()[step.index] == left;
        image.set_child(step.index, left);
        image.insert(step.index, separator, right);
        if image.children().len() <= CHILDREN {
            if self.is_prepared(step.node) {
                image.write(self.reader.region(), step.node, self.version + 1);
                return Ok(());
            }
            self.free_inner(step.unit)?;
            let copy = self.new_inner(&image)?;
            return self.replace_child(path, level - 1, copy);
        }
        let is_last = path.is_last && same_left;
        let (separator, right) = image.split(if is_last { CHILDREN } else { CHILDREN.div_ceil(2) });
        let right = self.new_inner(&right)?;
        let left = if is_last {
            step.unit
        } else if self.is_prepared(step.node) {
            image.write(self.reader.region(), step.node, self.version + 1);
            step.unit
        } else {
            self.free_inner(step.unit)?;
            self.new_inner(&image)?
        };
        self.add_child(path, level - 1, left, separator, right)
    }

    /// Puts another node of the same range where `path` has one, `level` steps below the root.
    pub(super) fn replace_child(&mut self, path: &Path, level: usize, unit: Unit) -> Result<(), WriteError> {
        let Some(step) = level.checked_sub(1).map(|level| path.steps()[level]) else {
            self.stage.publish(TREE, Tree { root: unit, ..path.tree }.to_word());
            return Ok(());
        };
        let region = self.reader.region();
        let (word, value) = node::with_child(&self.stage.over(region), step.node, step.index, unit);
        if self.is_prepared(step.node) {
            region.store(word, value)
        } else {
            self.stage.publish(word, value)
        }
        Ok(())
    }

    pub(super) fn new_leaf(&mut self, image: &LeafImage) -> Result<Unit, WriteError> {
        let unit = self.allocate(leaf_class())?;
        image.write(self.reader.region(), self.reader.layout().block(unit), self.version + 1);
        self.count_nodes(1, 0)?;
        Ok(unit)
    }

    pub(super) fn new_inner(&mut self, image: &InnerImage) -> Result<Unit, WriteError> {
        let unit = self.allocate(inner_class())?;
        image.write(self.reader.region(), self.reader.layout().block(unit), self.version + 1);
        self.count_nodes(0, 1)?;
        Ok(unit)
    }

    /// Frees a leaf that this commit did not prepare.
    pub(super) fn free_leaf(&mut self, unit: Unit) -> Result<(), WriteError> {
        self.free_node(unit, leaf_class())?;
        self.count_nodes(-1, 0)
    }

    /// Frees an inner node that this commit did not prepare, and takes back what is staged in it.
    pub(super) fn free_inner(&mut self, unit: Unit) -> Result<(), WriteError> {
        self.free_node(unit, inner_class())?;
        let words = node::child_words(self.reader.layout().block(unit));
        self.stage.take_back(self.reader.region(), words);
        self.count_nodes(0, -1)
    }

    pub(super) fn free_node(&mut self, unit: Unit, class: Class) -> Result<(), WriteError> {
        self.check_block(unit, class)?;
        self.free(unit, class);
        Ok(())
    }

    fn count_nodes(&mut self, leaves: i32, inners: i32) -> Result<(), WriteError> {
        let nodes = self.tree_nodes();
        let changed = nodes.leaves.checked_add_signed(leaves).zip(nodes.inners.checked_add_signed(inners));
        let (leaves, inners) =
            changed.ok_or_else(|| WriteError::Corrupt(format!("{nodes:?} do not count what is there")))?;
        self.stage.store_header(TREE_NODES, TreeNodes { leaves, inners }.to_word());
        Ok(())
    }

    /// The nodes of the tree, as the commit that is being prepared will leave them.
    pub(super) fn tree_nodes(&self) -> TreeNodes {
        TreeNodes::from_word(self.stage.header(self.reader.region(), TREE_NODES))
    }

    /// The shortest separator between two entries that follow each other.
    fn new_separator(&mut self, left: (u64, Unit), right: (u64, Unit)) -> Result<Separator, WriteError> {
        if left.0 != right.0 {
            // They differ in a byte of the prefix, and there the right one's is not zero.
            let same_bits = (left.0 ^ right.0).leading_zeros() / 8 * 8;
            return Ok(Separator { prefix: right.0 & !(u64::MAX >> 8 >> same_bits), long: Unit::NONE });
        }
        let (region, layout) = (self.reader.region(), self.reader.layout());
        let [left, right] = [left.1, right.1].map(|unit| {
            let (block, entry) = layout.entry_of(region, unit)?;
            let mut key = Vec::new();
            if !region.copy_out(entry.key_at(block), entry.key_bytes, &mut key) {
                return Err(WriteError::Corrupt("a key ends outside the segment".into()));
            }
            Ok(key)
        });
        let (left, right) = (left?, right?);
        let same = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
        let bytes = right.get(..=same).filter(|_| left < right);
        let bytes = bytes.ok_or_else(|| WriteError::Corrupt("keys of a leaf are not in order".into()))?;
        self.separator_of(bytes)
    }

    fn separator_of(&mut self, bytes: &[u8]) -> Result<Separator, WriteError> {
        let prefix = prefix_of(bytes);
        if !Separator::is_long(bytes) {
            return Ok(Separator { prefix, long: Unit::NONE });
        }
        let long = self.allocate(node::separator_class(bytes.len()))?;
        node::write_separator(
            self.reader.region(),
            self.reader.layout().block(long),
            self.version + 1,
            bytes,
        );
        Ok(Separator { prefix, long })
    }
}
