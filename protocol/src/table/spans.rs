//! The span table: what each span of the arena is used for.
//!
//! ```text
//!  draining: 1 │ drained blocks: 31 │ place in its run: 16 │ class + 1: 16        zero: a free span
//! ```
//!
//! The owner alone reads it. Spans beyond `next span` are stored directly, as nobody looks there; all else is logged.
//! The drained blocks of a run are counted in the word of its first span (see [`super::compact`]).

use super::class::{Class, SPAN_UNITS, Unit};
use super::layout::Layout;
use crate::region::Region;

/// One word of the span table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) class: Class,
    /// Which span of its run it is.
    pub(super) place: u64,
    /// Whether its run is to be given back: none of its blocks is handed out any more.
    pub(super) draining: bool,
    /// How many blocks of a draining run are neither in use nor in a queue any more.
    pub(super) drained: u64,
}

impl Span {
    pub(super) fn new(class: Class, place: u64) -> Self {
        Self { class, place, draining: false, drained: 0 }
    }

    /// None for a free span, and for nonsense.
    #[inline]
    pub(super) fn from_word(word: u64) -> Option<Self> {
        let class = Class::from_index((word as u16 as usize).checked_sub(1)?)?;
        Some(Self {
            class,
            place: word >> 16 & 0xffff,
            draining: word >> 63 == 1,
            drained: word >> 32 & 0x7fff_ffff,
        })
    }

    #[inline]
    pub(super) fn to_word(self) -> u64 {
        u64::from(self.draining) << 63
            | self.drained << 32
            | self.place << 16
            | (self.class.index() as u64 + 1)
    }
}

/// The span that a block begins in.
#[inline]
pub(super) fn span_of(unit: Unit) -> u64 {
    u64::from(unit.0) / SPAN_UNITS
}

impl Layout {
    /// The class of the run that a block is in, where there is one.
    pub(super) fn class_of<R: Region>(&self, region: &R, unit: Unit) -> Option<Class> {
        let span = span_of(unit);
        let word = (span < self.arena_spans()).then(|| region.load(self.span_word(span)))?;
        Some(Span::from_word(word)?.class)
    }

    /// The word of a span.
    #[inline]
    pub(super) fn span_word(&self, span: u64) -> u64 {
        self.spans.start + span
    }
}
