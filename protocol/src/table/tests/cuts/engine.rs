//! What the engine did for an operation, told from the words before and after it: so that growth, reuse, reclaim and the
//! rest are counted.

use crate::region::{RecordingRegion, Region, Store};
use crate::table::class::Class;
use crate::table::layout::{
    COMMITTED, COUNTS, Counts, FREE_SPANS, HORIZON, MOST_PINS, NEXT_SPAN, Queue, RECALLED, RETIRED, ROOT,
    TREE, TREE_NODES, TreeNodes, held_size_word, held_word, queue_word, waiting_word,
};
use crate::table::ordered::leaf_class;
use crate::table::pin::HeldSize;
use crate::table::{TableWriter, WriteError};

/// What the engine's words say.
pub(super) struct Engine {
    arena: u64,
    buckets: u32,
    next_span: u64,
    free_spans: u64,
    horizon: u64,
    slots: u32,
    /// What is about to be done to give memory back.
    phase: Option<&'static str>,
    tree: Tree,
    pins: Pins,
}

/// The ordered index, from far.
struct Tree {
    nodes: TreeNodes,
    height: u64,
    leaves_freed: u64,
}

/// What waits for pins, or for a look at them.
struct Pins {
    /// For each pin, whether nothing is held, and how many entries are.
    held: Vec<(bool, u32)>,
    /// How many entries wait.
    waiting: u64,
    retired: Queue,
    recalled: Queue,
}

impl Engine {
    pub(super) fn of<R: Region, W: Region>(region: &RecordingRegion<R>, writer: &TableWriter<W>) -> Self {
        Self {
            arena: writer.reader().layout().arena.start,
            buckets: region.load(ROOT) as u32,
            next_span: region.load(NEXT_SPAN),
            free_spans: region.load(FREE_SPANS),
            horizon: region.load(HORIZON),
            slots: Counts::from_word(region.load(COUNTS)).slots,
            phase: writer.compaction.phase_name(),
            tree: Tree::of(region),
            pins: Pins::of(region),
        }
    }

    /// Names for what happened from here to `now`, by these stores.
    pub(super) fn what_it_did(
        &self,
        now: &Self,
        stores: &[Store],
        result: &Result<(), WriteError>,
    ) -> Vec<&'static str> {
        let mut names = Vec::new();
        let mut add = |happened: bool, name| names.extend(happened.then_some(name));
        add(now.buckets > self.buckets, "growth of the index");
        add(now.buckets < self.buckets, "shrinking of the index");
        add(now.next_span > self.next_span, "growth of the arena");
        add(now.free_spans < self.free_spans, "use of free spans");
        add(now.horizon > self.horizon, "reuse (horizon moved)");
        add(now.slots < self.slots, "reclaim of removed entries");
        add(matches!(result, Err(WriteError::TableFull { .. })), "full table");
        add(now.horizon > self.horizon && self.pins.any(), "reuse beside what is held");
        names.extend(self.phase);
        self.tree.what_became_of_it(&now.tree, &mut names);
        self.pins.what_became_of_them(&now.pins, &mut names);
        self.links_and_removals(stores, &mut names);
        names
    }

    /// A new entry's words are stored one after the other; what is unlinked, or removed, has one of them stored alone.
    fn links_and_removals(&self, stores: &[Store], names: &mut Vec<&'static str>) {
        let mut add =
            |happened: bool, name| names.extend((happened && !names.contains(&name)).then_some(name));
        for three in stores.windows(3) {
            let (before, Store { word, old, new }, next) = (three[0], three[1], three[2]);
            if word < self.arena || word == before.word + 1 || next.word == word + 1 {
                continue;
            }
            add(new >> 12 == (1 << 52) - 1, "join of a run");
            add(old >> 32 == new >> 32 && old as u32 != new as u32, "unlink");
            // What a commit removes has its version, what it steps back to an older one.
            let is_older = old >> 12 == 0 && new >> 12 > 0 && new >> 12 < before.new;
            add(before.word == COMMITTED && is_older, "step back to an older entry");
        }
    }
}

impl Tree {
    fn of<R: Region>(region: &R) -> Self {
        Self {
            nodes: TreeNodes::from_word(region.load(TREE_NODES)),
            height: region.load(TREE) >> 32,
            leaves_freed: region.load(queue_word(leaf_class())) >> 32,
        }
    }

    fn what_became_of_it(&self, now: &Self, names: &mut Vec<&'static str>) {
        let leaves = now.nodes.leaves.cmp(&self.nodes.leaves);
        let inners = now.nodes.inners.cmp(&self.nodes.inners);
        let height = now.height.cmp(&self.height);
        let mut add = |happened: bool, name| names.extend(happened.then_some(name));
        add(leaves.is_gt(), "split of a leaf");
        add(leaves.is_lt(), "end of a leaf");
        add(leaves.is_eq() && now.leaves_freed != self.leaves_freed, "copy of a leaf");
        add(inners.is_gt() && height.is_eq(), "split of an inner node");
        add(inners.is_lt() && height.is_eq(), "end of an inner node");
        add(height.is_gt() && self.nodes.leaves > 0, "growth of the root");
        add(height.is_lt(), "lowering of the root");
    }
}

impl Pins {
    fn of<R: Region>(region: &R) -> Self {
        let held = |slot| {
            let is_empty = Queue::from_word(region.load(held_word(slot))).is_empty();
            (is_empty, HeldSize::from_word(region.load(held_size_word(slot))).entries)
        };
        Self {
            held: (0..MOST_PINS).map(held).collect(),
            waiting: Class::all().map(|class| region.load(waiting_word(class)) >> 32).sum(),
            retired: Queue::from_word(region.load(RETIRED)),
            recalled: Queue::from_word(region.load(RECALLED)),
        }
    }

    fn any(&self) -> bool {
        self.waiting > 0 || self.held.iter().any(|(is_empty, _)| !is_empty)
    }

    fn what_became_of_them(&self, now: &Self, names: &mut Vec<&'static str>) {
        let any = |happened: fn((bool, u32), (bool, u32)) -> bool| {
            self.held.iter().zip(&now.held).any(|(before, now)| happened(*before, *now))
        };
        let mut add = |happened: bool, name| names.extend(happened.then_some(name));
        add(any(|before, now| now.1 > before.1), "hold");
        add(now.waiting > self.waiting, "wait");
        add(now.waiting < self.waiting, "end of the wait");
        add(any(|before, now| now.0 && !before.0), "held is retired again");
        add(now.recalled.last != self.recalled.last, "recall");
        add(now.recalled.first != self.recalled.first, "sweep of recalled");
        add(now.retired.first != self.retired.first, "sweep of retired");
    }
}
