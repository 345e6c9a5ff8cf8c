//! Who pins a table: the control task for readers, and the table's storage thread for itself, one at a time (rule R11).

use heirloom_protocol::region::Region;
use heirloom_protocol::table::{self, Pin, PinError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    pub(super) fn pin<R: Region>(&self, region: &R) -> Result<Pin, PinError> {
        let _one = self.alone();
        table::pin(region)
    }

    pub(super) fn unpin<R: Region>(&self, region: &R, pin: Pin) {
        let _one = self.alone();
        table::unpin(region, pin);
    }

    pub(super) fn hold<'r, R: Region>(&self, region: &'r R) -> Result<HeldPin<'r, R>, PinError> {
        Ok(HeldPin { pin: self.pin(region)?, pinning: self.clone(), region })
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
