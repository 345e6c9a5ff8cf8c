//! The horizon: what may be reused, and what the owner must know to say so.
//!
//! Every 64 commits or so, where something waits for it, the owner moves the horizon to its last commit, looks at the pins,
//! and lets go of what was freed and retired until then. Between two such batches its line is quiet for readers.

use super::class::{CLASSES, Class, Unit};
use super::error::WriteError;
use super::layout::{MOST_PINS, Queue, RECALLED, RETIRED, held_size_word, held_word, queue_word};
use super::pin::{HeldSize, KnownPins};
use super::rows::Pairs;
use super::waiting::Marks;
use super::writer::TableWriter;
use crate::region::Region;

/// Where the retired entries are among the queues that [`Space`] knows about.
const RETIRED_INDEX: usize = CLASSES;

/// What the owner knows beyond the queues' words: how far each may be emptied, and for whom. Learned at each batch, and
/// not known to an heir before its first.
///
/// Every pin that there is, is one of `pins` or is not below `horizon`: that is the handshake of [`super::pin`]. What
/// was freed or retired up to the horizon is therefore wanted by `pins` or by nobody.
#[derive(Debug)]
pub(super) struct Space {
    /// The last block of each queue that was freed, or retired, up to the horizon.
    pub(super) ready: [Unit; CLASSES + 1],
    /// What the commit that is being prepared takes from `ready`: which queue, and its last block.
    taken: Vec<(usize, Unit)>,
    /// Classes whose queues grew since the last batch, a bit each.
    pub(super) grown: [u64; CLASSES.div_ceil(64)],
    /// Whether something waits for the horizon.
    pub(super) waiting: bool,
    /// Whether there was a batch.
    known: bool,
    /// The horizon of the last batch.
    horizon: u64,
    /// Units that the commit that is being prepared takes, less those that it frees.
    pub(super) allocated: i64,
    /// No span before this one is free, as far as this owner has looked.
    pub(super) free_span_from: u64,
    /// The pins that were found there.
    pub(super) pins: KnownPins,
    /// Whether blocks are recalled.
    pub(super) recalled: bool,
    /// How far each pin has what waits.
    pub(super) marks: Marks,
    /// What overwrites retired, with what they put in its place.
    pub(super) pairs: Pairs,
}

impl Space {
    pub(super) fn unknown(horizon: u64) -> Self {
        Self {
            ready: [Unit::NONE; CLASSES + 1],
            taken: Vec::new(),
            grown: [u64::MAX; CLASSES.div_ceil(64)],
            waiting: true,
            known: false,
            horizon,
            allocated: 0,
            free_span_from: 1,
            pins: KnownPins::default(),
            recalled: false,
            marks: Marks::unknown(),
            pairs: Pairs::default(),
        }
    }

    /// Forgets everything, as after a commit of which nobody knows how far it came.
    pub(super) fn forget(&mut self, horizon: u64) {
        *self = Self::unknown(horizon);
    }

    #[inline]
    pub(super) fn forget_allocated(&mut self) {
        self.allocated = 0;
    }

    /// Takes back what an abandoned commit took, after the last one, of version `last` (R6a): the queues' words have not changed.
    #[inline]
    pub(super) fn restore(&mut self, last: u64) {
        for (index, last) in self.taken.drain(..) {
            self.ready[index] = last;
        }
        self.allocated = 0;
        self.pairs.restore(last);
    }

    /// What the commit took is gone.
    #[inline]
    pub(super) fn settle(&mut self) {
        self.taken.clear();
    }

    /// Notes that the commit takes the last block of a queue that may be used.
    pub(super) fn take_last(&mut self, index: usize) {
        let last = std::mem::replace(&mut self.ready[index], Unit::NONE);
        self.taken.push((index, last));
    }

    /// Notes that a class's queue has more blocks than at the last batch.
    #[inline]
    pub(super) fn has_grown(&mut self, class: Class) {
        self.grown[class.index() / 64] |= 1 << (class.index() % 64);
    }

    /// The last retired entry that may be looked at; none where none may.
    #[inline]
    pub(super) fn retired_ready(&self) -> Unit {
        self.ready[RETIRED_INDEX]
    }

    /// Notes that this commit takes the last retired entry that may be looked at.
    pub(super) fn take_last_retired(&mut self) {
        self.take_last(RETIRED_INDEX);
    }

    /// The horizon of the last batch.
    pub(super) fn horizon(&self) -> u64 {
        self.horizon
    }

    pub(super) fn wait(&mut self) {
        self.waiting = true;
    }
}

impl<R: Region> TableWriter<R> {
    /// Moves the horizon when enough commits wait for it. Only between commits.
    #[inline]
    pub(super) fn move_horizon_if_due(&mut self) {
        if self.space.waiting && self.version.saturating_sub(self.space.horizon) >= self.batch_commits {
            self.move_horizon();
        }
    }

    /// Whether moving the horizon could make anything reusable.
    pub(super) fn horizon_lags(&self) -> bool {
        !self.space.known || self.space.horizon < self.version
    }

    /// REUSE: lets everything that was freed up to now be overwritten, unless a pin wants it.
    ///
    /// The horizon is stored before any of it is (R7), and the pins are looked at after that (R11). A reader that loaded the
    /// horizon before this store, and still reads what is overwritten after it, sees the new horizon at its second look.
    pub(super) fn move_horizon(&mut self) {
        let horizon = self.version;
        let before = self.space.known.then_some(&self.space.pins);
        let pins = KnownPins::after_horizon(self.reader.region(), horizon, self.space.horizon, before);
        // What goes wrong here can wait: nothing is reused, and the next write that needs it says so.
        let Some(pins) = pins.filter(|pins| self.requeue(pins).is_ok()) else {
            self.abandon();
            return self.space.forget(horizon);
        };
        self.mark_batch();
        let region = self.reader.region();
        for (number, grown) in self.space.grown.iter_mut().enumerate() {
            let mut grown = std::mem::take(grown);
            while grown != 0 {
                let index = number * 64 + grown.trailing_zeros() as usize;
                grown &= grown - 1;
                if let Some(class) = Class::from_index(index) {
                    self.space.ready[index] = Queue::from_word(region.load(queue_word(class))).last;
                }
            }
        }
        self.space.ready[RETIRED_INDEX] = Queue::from_word(region.load(RETIRED)).last;
        self.space.horizon = horizon;
        // Pins come and go without a word to the owner.
        self.space.waiting = !pins.is_empty();
        self.space.pins = pins;
        self.space.known = true;
        self.space.recalled = !Queue::from_word(region.load(RECALLED)).is_empty();
        self.consider_compaction();
        self.chores = true;
    }

    /// Puts where it is free, or looked at, what other pins say of: what waited for those that are gone is spliced into the free
    /// queues (see [`super::waiting`]), what was held for them one by one is retired again; and where there were no pins and
    /// now there are, what was freed since the last batch is recalled. One commit, whatever there is: the links within the
    /// queues stay.
    fn requeue(&mut self, pins: &KnownPins) -> Result<(), WriteError> {
        let known = self.space.known;
        if known && self.space.pins == *pins {
            return Ok(());
        }
        if !pins.is_empty() && (!known || self.space.pins.is_empty()) {
            for class in Class::all() {
                // What was freed before can be wanted only by pins that were known then; an heir knows of none.
                self.requeue_after(self.space.ready[class.index()], queue_word(class), RECALLED);
            }
        }
        let gone: Vec<u64> =
            if known { self.space.pins.gone_in(pins).collect() } else { (0..MOST_PINS).collect() };
        for slot in gone {
            if self.requeue_after(Unit::NONE, held_word(slot), RETIRED) {
                self.stage.store_header(held_size_word(slot), HeldSize::default().to_word());
            }
        }
        self.stage_waiting(pins, known);
        self.commit()
    }

    /// Stages the move of the blocks of a queue after `kept` (all, where that is none) to the end of another; whether there
    /// are any.
    fn requeue_after(&mut self, kept: Unit, word: u64, to: u64) -> bool {
        let queue = Queue::from_word(self.stage.header(self.reader.region(), word));
        if queue.is_empty() || queue.last == kept {
            return false;
        }
        let (first, rest) = if kept.is_none() {
            (queue.first, Queue::EMPTY)
        } else {
            (self.link_of(kept), Queue { last: kept, ..queue })
        };
        self.stage.store_header(word, rest.to_word());
        self.append(to, Queue { first, last: queue.last });
        true
    }

    /// Stages the move of the blocks of a queue up to `last`, which is one of them, to the end of another.
    pub(super) fn requeue_up_to(&mut self, last: Unit, word: u64, to: u64) {
        let queue = Queue::from_word(self.stage.header(self.reader.region(), word));
        let rest =
            if queue.last == last { Queue::EMPTY } else { Queue { first: self.link_of(last), ..queue } };
        self.stage.store_header(word, rest.to_word());
        self.append(to, Queue { last, ..queue });
    }
}
