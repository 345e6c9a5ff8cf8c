//! Pins: what keeps a version readable.
//!
//! A pin is one word in the header, a version plus one, zero where there is none. The manager stores it for a reader
//! (one thread at a time, R6a); the owner looks at the pins when it moves the horizon, and keeps what they want.
//!
//! ```text
//!  manager: pin                                 owner: move the horizon (super::space)
//!    v = applied
//!    store pin = v + 1, tentative      PIN        store horizon = h         HORIZON
//!    fence (SeqCst)                               fence (SeqCst)
//!    load horizon: at most v?          ◄─ HORIZON load the pins             ◄─ PIN
//!    store pin = v + 1
//! ```
//!
//! Between two sequentially consistent fences, one side is first, so at least one of the two sees what the other
//! stored (R11). Either the owner sees the pin, and keeps what it wants from that batch on; or the manager sees the
//! horizon `h`, and takes the pin only where `h <= v`: what was freed up to `h` stands at no version from `h` on, so
//! the pin does not want it, and what is freed later is not reused before the owner has looked again.
//!
//! So a pin that the owner finds new, and below the horizon it had before, is one that the manager gives up: what it wants may
//! be gone. An heir does not know which pins are new; it can tell those apart by their being tentative. A manager that
//! died there leaves a tentative pin, which the next one takes away.

use std::sync::atomic::Ordering;

use super::class::{Class, UNIT_BYTES};
use super::entry::MAX_VERSION;
use super::error::OpenError;
use super::layout::{APPLIED, HORIZON, Layout, MOST_PINS, PINS, UNCLAIMED, held_size_word, waiting_word};
use super::waiting::End;
use crate::region::Region;
use crate::sync::fence;

/// In the word of a pin whose manager has not looked at the horizon yet.
const TENTATIVE: u64 = 1 << 63;

/// What is not pinned has this.
const NO_SLOT: u32 = u32::MAX;

/// A version that is kept readable, until [`unpin`] or until whoever gave it takes it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin {
    slot: u32,
    version: u64,
}

impl Pin {
    /// A pin that another process was given, as it came over the wire. One that does not stand reads nothing:
    /// [`super::ReadError::SnapshotExpired`].
    #[must_use]
    pub fn from_parts(slot: u32, version: u64) -> Self {
        Self { slot, version }
    }

    /// Which of the table's pins it is.
    #[must_use]
    pub fn slot(self) -> u32 {
        self.slot
    }

    /// The version that it keeps.
    #[must_use]
    pub fn version(self) -> u64 {
        self.version
    }

    /// No pin. The version stands for as long as it could still be pinned: while the horizon is not beyond it, nothing
    /// that it wants is reused or unlinked.
    pub(super) fn none(version: u64) -> Self {
        Self { slot: NO_SLOT, version }
    }

    /// Whether it still stands (R13).
    pub(super) fn stands<R: Region>(self, region: &R) -> bool {
        if self.slot == NO_SLOT {
            return region.load(HORIZON) <= self.version;
        }
        let slot = u64::from(self.slot);
        slot < MOST_PINS && self.version < MAX_VERSION && region.load(PINS + slot) == self.version + 1
    }
}

/// Why a table cannot be pinned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// All pins are taken.
    #[error("the table has {MOST_PINS} snapshots, as many as it can have at once; release one")]
    TooMany,
    /// Each time that a version was pinned, the owner was beyond it already.
    #[error("the table's horizon moved past every version that was tried; try again")]
    Overtaken,
    /// What is there is no table.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// What pins hold back of a table's memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// Entries that only snapshots can read.
    pub entries: u64,
    /// Their memory, in bytes.
    pub bytes: u64,
    /// Number of pins.
    pub pins: u64,
    /// The oldest version that is pinned.
    pub oldest: Option<u64>,
}

/// The horizon moves every 64 commits; whoever is overtaken so often in a row reads garbage.
const MOST_TRIES: usize = 10_000;

/// Pins the version that is applied now. For the manager, one thread at a time (R6a).
///
/// # Errors
/// See [`PinError`].
pub fn pin<R: Region>(region: &R) -> Result<Pin, PinError> {
    Layout::read(region)?;
    let is_free = |slot: &u64| matches!(region.load(PINS + slot), 0 | TENTATIVE..);
    let slot = (0..MOST_PINS).find(is_free).ok_or(PinError::TooMany)?;
    for _ in 0..MOST_TRIES {
        let version = region.load(APPLIED);
        if version < MAX_VERSION && try_pin(region, slot, version) {
            return Ok(Pin { slot: slot as u32, version });
        }
    }
    region.store(PINS + slot, 0);
    Err(PinError::Overtaken)
}

/// The manager's half of the handshake: whether the pin holds.
fn try_pin<R: Region>(region: &R, slot: u64, version: u64) -> bool {
    region.store(PINS + slot, (version + 1) | TENTATIVE);
    fence(Ordering::SeqCst);
    let holds = region.load(HORIZON) <= version;
    if holds {
        region.store(PINS + slot, version + 1);
    }
    holds
}

/// Gives a pin back. One that does not stand any more is left alone. For the manager, one thread at a time (R6a).
pub fn unpin<R: Region>(region: &R, pin: Pin) {
    if pin.stands(region) {
        region.store(PINS + u64::from(pin.slot), 0);
    }
}

/// Since when nobody has said that a pin is its own, as [`set_unclaimed_since`] noted it: in whole seconds, of whatever clock
/// outlives the manager.
pub fn unclaimed_since<R: Region>(region: &R, pin: Pin) -> Option<u32> {
    let (word, shift) = unclaimed_place(pin)?;
    ((region.load(word) >> shift) as u32).checked_sub(1)
}

/// Notes since when nobody has said that a pin is its own: kept beside the pin, it counts on however many managers die
/// meanwhile. For the manager, one thread at a time (R6a).
pub fn set_unclaimed_since<R: Region>(region: &R, pin: Pin, since: Option<u32>) {
    if let Some((word, shift)) = unclaimed_place(pin) {
        let half = u64::from(since.map_or(0, |since| since.saturating_add(1)));
        region.store(word, region.load(word) & !(u64::from(u32::MAX) << shift) | half << shift);
    }
}

/// The word, and which half of it.
fn unclaimed_place(pin: Pin) -> Option<(u64, u32)> {
    let slot = u64::from(pin.slot);
    (slot < MOST_PINS).then_some((UNCLAIMED + slot / 2, 32 * (pin.slot % 2)))
}

/// Takes up the pins of a manager that died: those that stand. One that it had not looked at the horizon for is none, and
/// is taken away: the owner could not tell. For the manager, one thread at a time (R6a).
pub fn adopt_pins<R: Region>(region: &R) -> Vec<Pin> {
    for slot in 0..MOST_PINS {
        if region.load(PINS + slot) >= TENTATIVE {
            region.store(PINS + slot, 0);
        }
    }
    pins(region)
}

/// The pins that stand.
pub fn pins<R: Region>(region: &R) -> Vec<Pin> {
    let pinned = |slot: u64| match region.load(PINS + slot) {
        0 | TENTATIVE.. => None,
        word => Some(Pin { slot: slot as u32, version: word - 1 }),
    };
    (0..MOST_PINS).filter_map(pinned).collect()
}

/// What pins hold back now, as any reader can see it.
pub fn held<R: Region>(region: &R) -> Held {
    let pins = pins(region);
    let mut held =
        Held { pins: pins.len() as u64, oldest: pins.iter().map(|pin| pin.version).min(), ..Held::default() };
    for slot in 0..MOST_PINS {
        let size = HeldSize::from_word(region.load(held_size_word(slot)));
        held.entries += u64::from(size.entries);
        held.bytes += u64::from(size.units) * UNIT_BYTES;
    }
    for class in Class::all() {
        let blocks = u64::from(End::from_word(region.load(waiting_word(class))).blocks);
        held.entries += blocks;
        held.bytes += blocks * class.units() * UNIT_BYTES;
    }
    held
}

/// What is held for one pin, in one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct HeldSize {
    pub(super) entries: u32,
    pub(super) units: u32,
}

impl HeldSize {
    pub(super) fn from_word(word: u64) -> Self {
        Self { entries: word as u32, units: (word >> 32) as u32 }
    }

    pub(super) fn to_word(self) -> u64 {
        u64::from(self.entries) | u64::from(self.units) << 32
    }

    /// With one entry of that class more.
    pub(super) fn and(self, class: Class) -> Self {
        Self { entries: self.entries.wrapping_add(1), units: self.units.wrapping_add(class.units() as u32) }
    }
}

/// The pins that the owner found when it moved the horizon, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KnownPins(Vec<Pin>);

impl KnownPins {
    /// The owner's half of the handshake: stores the horizon, and looks at the pins. `before` are those that it knew since
    /// it stored the last horizon, `last`; none where it is new and does not know.
    ///
    /// None where a pin is as yet undecided, and only its manager knows: then nothing may be reused, and it is asked
    /// again later.
    pub(super) fn after_horizon<R: Region>(
        region: &R,
        horizon: u64,
        last: u64,
        before: Option<&KnownPins>,
    ) -> Option<Self> {
        region.store(HORIZON, horizon);
        fence(Ordering::SeqCst);
        let mut found = Vec::new();
        for slot in 0..MOST_PINS {
            let word = region.load(PINS + slot);
            if word == 0 || word == TENTATIVE {
                continue;
            }
            let pin = Pin { slot: slot as u32, version: (word & !TENTATIVE) - 1 };
            let given_up = pin.version < last && before.is_some_and(|before| !before.0.contains(&pin));
            if before.is_none() && word & TENTATIVE != 0 && pin.version < last {
                return None;
            }
            if !given_up {
                found.push(pin);
            }
        }
        found.sort_unstable_by_key(|pin| pin.version);
        Some(Self(found))
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = Pin> {
        self.0.iter().copied()
    }

    pub(super) fn has(&self, pin: Pin) -> bool {
        self.0.contains(&pin)
    }

    /// The oldest version that is pinned.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.0.first().map(|pin| pin.version)
    }

    /// The newest version that is pinned.
    #[inline]
    pub(super) fn newest(&self) -> Option<u64> {
        self.0.last().map(|pin| pin.version)
    }

    /// The newest pin below a version.
    #[inline]
    pub(super) fn newest_below(&self, version: u64) -> Option<Pin> {
        self.0.iter().rev().find(|pin| pin.version < version).copied()
    }

    /// The newest pin that wants what stood from `begin` until `end`.
    #[inline]
    pub(super) fn wanting(&self, begin: u64, end: u64) -> Option<Pin> {
        self.newest_below(end).filter(|pin| pin.version >= begin)
    }

    /// The slots of the pins that are not in `later`.
    pub(super) fn gone_in(&self, later: &KnownPins) -> impl Iterator<Item = u64> {
        self.0.iter().filter(|pin| !later.0.contains(pin)).map(|pin| u64::from(pin.slot))
    }
}
