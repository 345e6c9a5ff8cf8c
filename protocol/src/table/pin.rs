//! Pins: what keeps a version readable.
//!
//! A pin is one word in the header, a version plus one, zero where there is none. The manager stores it for a reader
//! (one thread at a time, R6a); the owner looks at the pins when it moves the horizon, and keeps what they want.
//!
//! ```text
//!  manager: pin                                 owner: move the horizon (super::space)
//!    v = applied
//!    store pin = v + 1          PIN                store horizon = h         HORIZON
//!    fence (SeqCst)                                fence (SeqCst)
//!    load horizon: at most v?   ◄─ HORIZON         load the pins             ◄─ PIN
//! ```
//!
//! Between two sequentially consistent fences, one side is first, so at least one of the two sees what the other
//! stored (R11). Either the owner sees the pin, and keeps what it wants from that batch on; or the manager sees the
//! horizon `h`, and takes the pin only where `h <= v`: what was freed up to `h` stands at no version from `h` on, so
//! the pin does not want it, and what is freed later is not reused before the owner has looked again.

use std::sync::atomic::Ordering;

use super::error::OpenError;
use super::layout::{APPLIED, HELD_SIZE, HORIZON, Layout, MOST_PINS, PINS};
use crate::region::Region;
use crate::sync::fence;

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
        slot < MOST_PINS && self.version < u64::MAX && region.load(PINS + slot) == self.version + 1
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
    let slot = (0..MOST_PINS).find(|slot| region.load(PINS + slot) == 0).ok_or(PinError::TooMany)?;
    for _ in 0..MOST_TRIES {
        let version = region.load(APPLIED);
        if try_pin(region, slot, version) {
            return Ok(Pin { slot: slot as u32, version });
        }
    }
    region.store(PINS + slot, 0);
    Err(PinError::Overtaken)
}

/// The manager's half of the handshake: whether the pin holds.
fn try_pin<R: Region>(region: &R, slot: u64, version: u64) -> bool {
    region.store(PINS + slot, version.wrapping_add(1));
    fence(Ordering::SeqCst);
    region.load(HORIZON) <= version && version < u64::MAX
}

/// Gives a pin back. One that does not stand any more is left alone. For the manager, one thread at a time (R6a).
pub fn unpin<R: Region>(region: &R, pin: Pin) {
    if pin.stands(region) {
        region.store(PINS + u64::from(pin.slot), 0);
    }
}

/// What pins hold back now, as any reader can see it.
pub fn held<R: Region>(region: &R) -> Held {
    let mut held = Held::default();
    for version in pinned(region) {
        held.pins += 1;
        held.oldest = Some(held.oldest.map_or(version, |oldest| oldest.min(version)));
    }
    let size = region.load(HELD_SIZE);
    held.entries = size & 0xffff_ffff;
    held.bytes = (size >> 32) * super::class::UNIT_BYTES;
    held
}

/// The versions that are pinned.
fn pinned<R: Region>(region: &R) -> impl Iterator<Item = u64> {
    (0..MOST_PINS).filter_map(|slot| region.load(PINS + slot).checked_sub(1))
}
