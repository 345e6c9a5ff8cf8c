//! The control task's part in checkpoints: whose flushes are done, and the beginning and the end of the storage threads.

use super::ManagerError;
use super::checkpoint::{Notify, Settled};
use super::control::Control;
use heirloom_protocol::message::{Event, Refusal};
use std::sync::Arc;
use std::time::Instant;

impl Control {
    /// Starts the storage threads: every table is there now.
    pub(super) fn begin_checkpoints(&mut self, notify: impl Fn(usize) -> Notify) -> Result<(), ManagerError> {
        for (number, table) in self.tables.iter_mut().enumerate() {
            if let (Some(checkpoints), Some(on_disk)) = (&mut table.checkpoints, table.on_disk.take()) {
                let region = Arc::clone(&table.region);
                let started = checkpoints.start(&table.id, on_disk, region, notify(number));
                started.map_err(ManagerError::Runtime)?;
            }
        }
        Ok(())
    }

    /// Answers those whose version is on disk, and those who hear that it cannot be.
    pub(super) fn settle_flushes(&mut self, table: usize) {
        let of = &mut self.tables[table];
        let Some(checkpoints) = of.checkpoints.as_mut().filter(|checkpoints| checkpoints.waiting() > 0)
        else {
            return;
        };
        let Settled { durable, failed, why } = checkpoints.settle();
        let message = format!("table `{}` cannot be written to disk: {why}", of.id);
        for (waiting, version) in durable {
            self.send(waiting.client, &Event::Flushed { request: waiting.request, version });
        }
        for waiting in failed {
            let (request, message) = (Some(waiting.request), message.clone());
            self.send(waiting.client, &Event::Refused { request, why: Refusal::NotDurable, message });
        }
    }

    /// Has each durable table written to disk once more, and waits for that; not beyond the time that the supervisor gives
    /// us. What is not written then is lost only where no supervisor keeps the memory.
    pub(super) fn last_checkpoints(&mut self) {
        let until = Instant::now() + self.times.shutdown.mul_f32(0.9);
        for checkpoints in self.tables.iter_mut().filter_map(|table| table.checkpoints.as_mut()) {
            checkpoints.stop();
        }
        for number in 0..self.tables.len() {
            let table = &self.tables[number];
            let Some(checkpoints) = &table.checkpoints else { continue };
            let ended = checkpoints.has_stopped_by(until);
            let (version, durable_version) = (table.reader.version(), checkpoints.durable());
            if !ended || durable_version != Some(version) {
                tracing::error!(
                    table = &*table.id,
                    version,
                    durable_version,
                    "stopped, and not all of it is on disk"
                );
            }
            self.settle_flushes(number);
        }
    }
}
