//! What waits for pins: entries that were overwritten while a pin wanted them.
//!
//! ```text
//!  a class:   free queue   ○ ○ ○ ○ ○          popped by the next entries
//!                               ▲ spliced whole, once the oldest pin is gone
//!             waiting      ● ● ●│● ● ● ●│● ●    in the order in which they were overwritten
//!                          until     │   pushed by overwrites
//!                          pin A   pin B        the marks: where the queue ended, at the batch before each pin was found
//! ```
//!
//! An overwrite under pins costs what one without costs, but for a push to another queue: nothing is looked up, and when
//! the pins are gone, all that waited for them is spliced into the free queues by one commit, whatever its length.
//!
//! **Why a prefix may be reused without a look at its entries, and without unlinking them.** A pin that was found at some batch
//! was not known at the one before, so its version p is not below that one's horizon h (R11). The mark of the pin is
//! where the queues ended then: what stands before it was overwritten at versions f <= h <= p. Pins are kept in the order in which
//! they were found, so every pin that stands has its mark at or behind the first one's, and every later one is not below
//! the horizon of today. Let E be an entry before the first mark, overwritten at f by its successor S, whose begin version is f. For
//! every pin p that there is or will be, f <= p:
//!
//! 1. E is not wanted: it stood until f only.
//! 2. A reader with the pin p that comes to E comes from an entry X that is above p, with E as its `previous`. That is not
//!    S, which is not above p: there it stops. And if S was set past, so that X leads to E, no pin was in between S and X
//!    (R12a), nor comes one later: so X is not above p either. (By induction, for any number of entries that were set past.)
//! 3. No slot points to E: no slot is stepped back to an entry that waits (see [`super::reclaim`]), and unpinned readers left
//!    it at f, which the horizon has passed (R7).
//!
//! So E may be overwritten, `previous` of S and all: where it leads, nobody goes.
//!
//! Where a pin is gone and an older one stands, what came to wait since its mark may be unwanted and still be on the older
//! one's way: it is retired, and looked at entry by entry. An heir knows no marks. It retires all that waits, or
//! splices it where there are no pins.

use super::class::{CLASSES, Class, Unit};
use super::layout::{Queue, RETIRED, queue_word, waiting_first_word, waiting_word};
use super::pin::{KnownPins, Pin};
use super::writer::TableWriter;
use crate::region::Region;

/// The end of a waiting queue, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) last: Unit,
    /// How many blocks there are up to it.
    pub(super) blocks: u32,
}

impl End {
    const EMPTY: Self = Self { last: Unit::NONE, blocks: 0 };

    #[inline]
    pub(super) fn from_word(word: u64) -> Self {
        Self { last: Unit(word as u32), blocks: (word >> 32) as u32 }
    }

    #[inline]
    pub(super) fn to_word(self) -> u64 {
        u64::from(self.last.0) | u64::from(self.blocks) << 32
    }

    /// The same end once all up to an earlier one is gone.
    fn without(self, earlier: Self) -> Self {
        if self.last == earlier.last {
            return Self::EMPTY;
        }
        Self { blocks: self.blocks.wrapping_sub(earlier.blocks), ..self }
    }
}

/// Where the waiting queues of all classes ended at a batch.
#[derive(Debug, Clone)]
struct Mark([End; CLASSES]);

impl Mark {
    const START: Self = Self([End::EMPTY; CLASSES]);

    fn of(&self, class: Class) -> End {
        self.0[class.index()]
    }

    /// The same mark once all up to an earlier one is gone.
    fn without(&mut self, earlier: &Mark) {
        for (end, earlier) in self.0.iter_mut().zip(&earlier.0) {
            *end = end.without(*earlier);
        }
    }
}

/// What the owner knows of what waits, beyond the queues' words. Learned at each batch; an heir knows nothing.
#[derive(Debug)]
pub(super) struct Marks {
    /// The mark of each pin that is known, in the order in which they were found.
    pins: Vec<(Pin, Mark)>,
    /// That of the last batch.
    batch: Mark,
    /// Classes whose queues grew since, a bit each.
    grown: [u64; CLASSES.div_ceil(64)],
}

impl Marks {
    pub(super) fn unknown() -> Self {
        Self { pins: Vec::new(), batch: Mark::START, grown: [0; CLASSES.div_ceil(64)] }
    }
}

impl<R: Region> TableWriter<R> {
    /// Puts an entry that this commit overwrites, and that a known pin wants, where it waits.
    #[inline]
    pub(super) fn wait_for_pins(&mut self, unit: Unit, class: Class) {
        let word = self.stage.header_mut(self.reader.region(), waiting_word(class));
        let End { last, blocks } = End::from_word(*word);
        *word = End { last: unit, blocks: blocks.wrapping_add(1) }.to_word();
        if last.is_none() {
            self.stage.store_header(waiting_first_word(class), u64::from(unit.0));
        } else {
            self.set_link(last, unit);
        }
        self.space.marks.grown[class.index() / 64] |= 1 << (class.index() % 64);
    }

    /// Stages what becomes of what waits, now that these are the pins. `known` says whether the marks are.
    pub(super) fn stage_waiting(&mut self, pins: &KnownPins, known: bool) {
        let mut marks = std::mem::replace(&mut self.space.marks, Marks::unknown());
        if pins.is_empty() {
            return Class::all().for_each(|class| self.splice_waiting(class, self.waiting_end(class)));
        }
        if known {
            self.stage_marked(&mut marks, pins);
        } else {
            self.retire_waiting_after(&Mark::START);
        }
        marks.pins.retain(|(pin, _)| pins.has(*pin));
        for pin in pins.iter() {
            if marks.pins.iter().all(|(known, _)| *known != pin) {
                marks.pins.push((pin, marks.batch.clone()));
            }
        }
        self.space.marks = marks;
    }

    /// The same where there are marks, and pins.
    fn stage_marked(&mut self, marks: &mut Marks, pins: &KnownPins) {
        let stands = |(pin, _): &(Pin, Mark)| pins.has(*pin);
        let first = marks.pins.iter().position(stands).unwrap_or(marks.pins.len());
        if let Some(gone) = marks.pins[first..].iter().position(|mark| !stands(mark)) {
            let cut = marks.pins[first + gone].1.clone();
            self.retire_waiting_after(&cut);
            marks.pins[first + gone..].iter_mut().for_each(|(_, mark)| *mark = cut.clone());
            marks.batch = cut;
            marks.grown.fill(0);
        }
        // The pins that are new were not known at the last batch.
        let unwanted = marks.pins.get(first).map_or(&marks.batch, |(_, mark)| mark).clone();
        Class::all().for_each(|class| self.splice_waiting(class, unwanted.of(class)));
        marks.pins.iter_mut().for_each(|(_, mark)| mark.without(&unwanted));
        marks.batch.without(&unwanted);
    }

    /// Notes where the waiting queues end, once what is staged for a batch has been committed.
    pub(super) fn mark_batch(&mut self) {
        let region = self.reader.region();
        let marks = &mut self.space.marks;
        for (number, grown) in marks.grown.iter_mut().enumerate() {
            let mut grown = std::mem::take(grown);
            while grown != 0 {
                let index = number * 64 + grown.trailing_zeros() as usize;
                grown &= grown - 1;
                if let Some(class) = Class::from_index(index) {
                    marks.batch.0[index] = End::from_word(region.load(waiting_word(class)));
                }
            }
        }
    }

    fn waiting_end(&self, class: Class) -> End {
        End::from_word(self.stage.header(self.reader.region(), waiting_word(class)))
    }

    fn waiting_first(&self, class: Class) -> Unit {
        Unit(self.stage.header(self.reader.region(), waiting_first_word(class)) as u32)
    }

    fn set_waiting(&mut self, class: Class, first: Unit, end: End) {
        self.stage.store_header(waiting_first_word(class), u64::from(first.0));
        self.stage.store_header(waiting_word(class), end.to_word());
    }

    /// Splices what waits up to an end into the class's free queue.
    fn splice_waiting(&mut self, class: Class, up_to: End) {
        if up_to.last.is_none() {
            return;
        }
        let (first, rest) = (self.waiting_first(class), self.waiting_end(class).without(up_to));
        let next = if rest.last.is_none() { Unit::NONE } else { self.link_of(up_to.last) };
        self.set_waiting(class, next, rest);
        self.append(queue_word(class), Queue { first, last: up_to.last });
        self.space.has_grown(class);
    }

    /// Retires what waits behind a mark.
    fn retire_waiting_after(&mut self, mark: &Mark) {
        for class in Class::all() {
            let (kept, end) = (mark.of(class), self.waiting_end(class));
            if end.last == kept.last {
                continue;
            }
            let first = self.waiting_first(class);
            let (first, next) =
                if kept.last.is_none() { (Unit::NONE, first) } else { (first, self.link_of(kept.last)) };
            self.set_waiting(class, first, kept);
            self.append(RETIRED, Queue { first: next, last: end.last });
        }
    }
}
