//! Who pins a table: the control task for readers, and the table's storage thread for itself, one at a time (rule R11).

use heirloom_protocol::region::Region;
use heirloom_protocol::table::{self, Pin, PinError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Unclaimed for as long as the host runs.
const NOBODY_CLAIMS_S: u32 = 0;

/// The right to pin one table, or to take pins back. Clones share it; it is held for some loads and stores.
#[derive(Debug, Clone, Default)]
pub(super) struct Pinning(Arc<Mutex<()>>);

/// A pin that is given back when it is dropped.
#[derive(Debug)]
pub(super) struct HeldPin<'r, R: Region> {
    pinning: Pinning,
    region: &'r R,
    pin: Pin,
}

impl Pinning {
    /// For a client, which will say that it has the pin where the next manager does not know.
    pub(super) fn pin<R: Region>(&self, region: &R) -> Result<Pin, PinError> {
        let _one = self.alone();
        let pin = table::pin(region)?;
        table::set_unclaimed_since(region, pin, None);
        Ok(pin)
    }

    pub(super) fn unpin<R: Region>(&self, region: &R, pin: Pin) {
        let _one = self.alone();
        table::unpin(region, pin);
    }

    /// For this process itself: nobody will claim it when the manager has died, so the next one gives it back at once, or
    /// tables would fill while managers die at their checkpoints.
    pub(super) fn hold<'r, R: Region>(&self, region: &'r R) -> Result<HeldPin<'r, R>, PinError> {
        let _one = self.alone();
        let pin = table::pin(region)?;
        table::set_unclaimed_since(region, pin, Some(NOBODY_CLAIMS_S));
        Ok(HeldPin { pin, pinning: self.clone(), region })
    }

    /// Notes since when nobody has said that a pin is its own.
    pub(super) fn note_unclaimed<R: Region>(&self, region: &R, pin: Pin, since_s: Option<u32>) {
        // Two pins share a word.
        let _one = self.alone();
        table::set_unclaimed_since(region, pin, since_s);
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Region> HeldPin<'_, R> {
    pub(super) fn pin(&self) -> Pin {
        self.pin
    }
}

impl<R: Region> Drop for HeldPin<'_, R> {
    fn drop(&mut self) {
        self.pinning.unpin(self.region, self.pin);
    }
}
