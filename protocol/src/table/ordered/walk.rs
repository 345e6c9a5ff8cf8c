//! Along the leaves, in both directions, while the owner writes.
//!
//! A leaf is read as one batch under the horizon check, together with the separator at which its range ends, and what
//! follows begins at that separator: a position is a key, and means the same however the tree changes meanwhile (R9). Each
//! entry that stands throughout is visited exactly once; the whole is not as of one moment (that is what snapshots are
//! for).
//!
//! Of a range, the *near* end is where the visit begins, the *far* end where it stops.

use std::ops::{Bound, Range};

use super::Order;
use super::node::{self, Permutation, Separator, Tree, prefix_of};
use super::range::{Pair, Span};
use crate::region::Region;
use crate::table::Kind;
use crate::table::batch::Batch;
use crate::table::bucket::Slot;
use crate::table::class::Unit;
use crate::table::error::ReadError;
use crate::table::index::Nonsense;
use crate::table::layout::HORIZON;
use crate::table::reader::{TableReader, corrupt};
use crate::table::scan::Visit;
use crate::table::versions::AsOf;

impl<R: Region> TableReader<R> {
    /// Visits the entries of a range.
    pub(in crate::table) fn visit(
        &self,
        as_of: AsOf,
        span: Span<'_>,
        order: Order,
        each: &mut Visit<'_>,
    ) -> Result<(), ReadError> {
        self.visit_some(as_of, span, order, usize::MAX, each)
    }

    pub(super) fn visit_prefix(
        &self,
        as_of: AsOf,
        prefix: &[u8],
        order: Order,
        each: &mut Visit<'_>,
    ) -> Result<(), ReadError> {
        let after = after_prefix(prefix);
        self.visit(as_of, Span { from: Bound::Included(prefix), to: below(after.as_deref()) }, order, each)
    }

    /// The first entry of a range, in that order.
    pub(super) fn nearest(
        &self,
        as_of: AsOf,
        span: Span<'_>,
        order: Order,
    ) -> Result<Option<Pair>, ReadError> {
        let mut found = None;
        self.visit_some(as_of, span, order, 1, &mut |key, value, _| {
            found = Some((key.to_vec(), value.to_vec()));
            false
        })?;
        Ok(found)
    }

    fn visit_some(
        &self,
        as_of: AsOf,
        span: Span<'_>,
        order: Order,
        at_once: usize,
        each: &mut Visit<'_>,
    ) -> Result<(), ReadError> {
        match self.layout().kind {
            Kind::Set => Err(ReadError::NotOrdered),
            Kind::OrderedSet => self.walk(as_of, span, order, at_once, each),
            Kind::Bag | Kind::DuplicateBag => self.visit_objects(as_of, span, order, at_once, each),
        }
    }

    /// Visits the entries of a range by the keys that the index has. Of each leaf, at most so many are read at once.
    pub(in crate::table) fn walk(
        &self,
        as_of: AsOf,
        span: Span<'_>,
        order: Order,
        at_once: usize,
        each: &mut Visit<'_>,
    ) -> Result<(), ReadError> {
        let mut batch = Batch::default();
        let mut long = Vec::new();
        let (mut near, far) = match order {
            Order::Ascending => (span.from.map(<[u8]>::to_vec), span.to),
            Order::Descending => (span.to.map(<[u8]>::to_vec), span.from),
        };
        let mut goes_on = false;
        loop {
            let near_key = near.as_ref().map(Vec::as_slice);
            let wanted = Wanted { as_of, near: near_key, far, order, at_once, goes_on };
            let next = self.checked(as_of, || self.read_leaf(wanted, &mut batch))?;
            if !self.show(&batch, as_of, &mut long, each)? {
                return Ok(());
            }
            match next {
                None => return Ok(()),
                Some(next) if order.goes_on(&near, &next) => (near, goes_on) = (next, at_once > 1),
                Some(_) => return Err(corrupt("the separators of the tree are not in order")),
            }
        }
    }

    /// Reads the leaf that a bound is in, from there on, undisturbed; says where what follows begins.
    fn read_leaf(&self, wanted: Wanted<'_>, batch: &mut Batch) -> Result<Option<Bound<Vec<u8>>>, ReadError> {
        loop {
            let horizon = self.region().load(HORIZON);
            let read = self.copy_leaf(wanted, batch);
            if self.stands(horizon) {
                return read.map_err(|Nonsense(what)| corrupt(what));
            }
        }
    }

    fn copy_leaf(&self, wanted: Wanted<'_>, batch: &mut Batch) -> Result<Option<Bound<Vec<u8>>>, Nonsense> {
        let Wanted { as_of, near, far, order, at_once, goes_on } = wanted;
        let region = self.region();
        batch.clear();
        let Some((leaf, end)) = self.leaf_at(near, order)? else { return Ok(None) };
        if let Some(end) = end.filter(|_| goes_on) {
            self.fetch_next_leaves(end, order);
        }
        let end = end.map(|place| Separator::read(region, place.node, place.index));
        let next = end.map(|separator| separator.copy(self.layout(), self.region())).transpose()?;
        let end = next.as_deref().map(|bound| order.far_end(bound));
        let (permutation, positions) = self.positions_from(leaf, near, order)?;
        if at_once > 1 {
            for position in positions.clone() {
                let slot = Slot { bucket: leaf, lane: permutation.lane(position) };
                self.layout().prefetch(region, slot.entry(region));
            }
        }
        let ordered: &mut dyn Iterator<Item = usize> = match order {
            Order::Ascending => &mut positions.into_iter(),
            Order::Descending => &mut positions.rev(),
        };
        for position in ordered {
            let unit = Slot { bucket: leaf, lane: permutation.lane(position) }.entry(self.region());
            let Some((block, entry)) = self.resolve(unit, as_of)? else { continue };
            let place = batch.push(region, block, &entry)?;
            if batch.len() == at_once || order.is_beyond(batch.key(place), far) {
                break;
            }
        }
        // They are in their order: where the last one lies within the range, all do.
        let mut is_at_its_end = false;
        while let Some(key) = batch.last_key() {
            // A leaf whose neighbour has gone since the way to it was read may have keys of that one's range by now.
            let (beyond, elsewhere) =
                (order.is_beyond(key, far), end.is_some_and(|end| order.is_beyond(key, end)));
            if !beyond && !elsewhere {
                break;
            }
            is_at_its_end |= beyond;
            batch.pop();
        }
        if is_at_its_end {
            return Ok(None);
        }
        if let Some(key) = batch.last_key().filter(|_| batch.len() == at_once) {
            return Ok(Some(Bound::Excluded(key.to_vec())));
        }
        let next = next.filter(|bound| !order.is_beyond(bound, far));
        Ok(next.map(|bound| match order {
            Order::Ascending => Bound::Included(bound),
            Order::Descending => Bound::Excluded(bound),
        }))
    }

    /// What a leaf points to, from a key on, and the least key that the next leaf can have. For the owner.
    pub(in crate::table) fn leaf_units(&self, from: &[u8]) -> Result<(Vec<Unit>, Option<Vec<u8>>), Nonsense> {
        let near = Bound::Included(from);
        let Some((leaf, end)) = self.leaf_at(near, Order::Ascending)? else { return Ok((Vec::new(), None)) };
        let (permutation, positions) = self.positions_from(leaf, near, Order::Ascending)?;
        let slot = |position| Slot { bucket: leaf, lane: permutation.lane(position) };
        let units = positions.map(|position| slot(position).entry(self.region())).collect();
        let end = end.map(|place| Separator::read(self.region(), place.node, place.index));
        Ok((units, end.map(|separator| separator.copy(self.layout(), self.region())).transpose()?))
    }

    /// Has the memory fetched that the next two steps of a visit read, as far as the node above the leaf has it: the entries of
    /// the next leaf, whose words the step before this one had fetched, and the words of the one after it.
    fn fetch_next_leaves(&self, end: SeparatorPlace, order: Order) {
        let (region, layout) = (self.region(), self.layout());
        let Ok(separators) = node::separators(region, end.node) else { return };
        let (next, after) = match order {
            Order::Ascending => (end.index + 1, Some(end.index + 2).filter(|child| *child <= separators)),
            Order::Descending => (end.index, end.index.checked_sub(1)),
        };
        let leaf = layout.block(node::child(region, end.node, next));
        if let Ok(permutation) = layout.permutation(region, leaf) {
            for lane in permutation.lanes() {
                layout.prefetch(region, Slot { bucket: leaf, lane }.entry(region));
            }
        }
        if let Some(after) = after {
            let leaf = layout.block(node::child(region, end.node, after));
            (0..node::LEAF_LINES).for_each(|line| region.prefetch(leaf + 8 * line));
        }
    }

    /// The leaf that a bound is in, and where the separator is at which its range ends in that order, where it is not the last.
    fn leaf_at(
        &self,
        near: Bound<&[u8]>,
        order: Order,
    ) -> Result<Option<(u64, Option<SeparatorPlace>)>, Nonsense> {
        let (region, layout) = (self.region(), self.layout());
        let Some(tree) = Tree::read(region)? else { return Ok(None) };
        let (mut block, mut end) = (layout.block(tree.root), None);
        for _ in 0..tree.height {
            let separators = node::separators(region, block)?;
            let index = match near {
                Bound::Included(key) | Bound::Excluded(key) => {
                    let prefix = prefix_of(key);
                    let index = layout.child_for(region, region, block, key, prefix)?;
                    // What is below a separator is on its left.
                    let at_separator = order == Order::Descending
                        && matches!(near, Bound::Excluded(_))
                        && index > 0
                        && Separator::read(region, block, index - 1)
                            .compare(layout, region, key, prefix)?
                            .is_eq();
                    index - usize::from(at_separator)
                }
                Bound::Unbounded if order == Order::Ascending => 0,
                Bound::Unbounded => separators,
            };
            end = match order {
                Order::Ascending if index < separators => Some(SeparatorPlace { node: block, index }),
                Order::Descending if index > 0 => Some(SeparatorPlace { node: block, index: index - 1 }),
                _ => end,
            };
            block = layout.child_block(region, block, index)?;
        }
        Ok(Some((block, end)))
    }

    /// The positions of a leaf that are within a bound.
    fn positions_from(
        &self,
        leaf: u64,
        near: Bound<&[u8]>,
        order: Order,
    ) -> Result<(Permutation, Range<usize>), Nonsense> {
        let (region, layout) = (self.region(), self.layout());
        let (key, included) = match near {
            Bound::Included(key) => (key, true),
            Bound::Excluded(key) => (key, false),
            Bound::Unbounded => {
                let permutation = layout.permutation(region, leaf)?;
                return Ok((permutation, 0..permutation.count()));
            }
        };
        let (place, found) = layout.find_in_leaf(region, region, leaf, key, prefix_of(key))?;
        let after = place.position + usize::from(found.is_some());
        let positions = match (order, included) {
            (Order::Ascending, true) => place.position..place.permutation.count(),
            (Order::Ascending, false) => after..place.permutation.count(),
            (Order::Descending, true) => 0..after,
            (Order::Descending, false) => 0..place.position,
        };
        Ok((place.permutation, positions))
    }
}

/// A separator of an inner node.
#[derive(Debug, Clone, Copy)]
struct SeparatorPlace {
    /// The node's first word.
    node: u64,
    index: usize,
}

/// What is to be read of a leaf.
#[derive(Debug, Clone, Copy)]
struct Wanted<'k> {
    as_of: AsOf,
    near: Bound<&'k [u8]>,
    far: Bound<&'k [u8]>,
    order: Order,
    at_once: usize,
    /// Whether leaves before it were read, to their ends: then there are probably more after it.
    goes_on: bool,
}

impl Order {
    /// Whether a key lies beyond the far end of a range.
    fn is_beyond(self, key: &[u8], far: Bound<&[u8]>) -> bool {
        match (far, self) {
            (Bound::Unbounded, _) => false,
            (Bound::Included(end), Order::Ascending) => key > end,
            (Bound::Excluded(end), Order::Ascending) => key >= end,
            (Bound::Included(end), Order::Descending) => key < end,
            (Bound::Excluded(end), Order::Descending) => key <= end,
        }
    }

    /// The far end of a leaf whose range ends at a separator: keys from there on are on its right.
    fn far_end(self, separator: &[u8]) -> Bound<&[u8]> {
        match self {
            Self::Ascending => Bound::Excluded(separator),
            Self::Descending => Bound::Included(separator),
        }
    }

    /// Whether a visit that goes on at `next` has come further than `near`.
    fn goes_on(self, near: &Bound<Vec<u8>>, next: &Bound<Vec<u8>>) -> bool {
        let (Bound::Included(from) | Bound::Excluded(from)) = near else { return true };
        let (Bound::Included(to) | Bound::Excluded(to)) = next else { return false };
        let further = if self == Order::Ascending { to > from } else { to < from };
        further || to == from && matches!((near, next), (Bound::Included(_), Bound::Excluded(_)))
    }
}

/// The least key above all that begin with `prefix`; none where there is none.
#[must_use]
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after)
}

/// Everything below a key; everything, where there is none.
pub(in crate::table) fn below(key: Option<&[u8]>) -> Bound<&[u8]> {
    key.map_or(Bound::Unbounded, Bound::Excluded)
}
