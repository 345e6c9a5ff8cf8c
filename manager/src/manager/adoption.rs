//! Taking up what an earlier manager left: its tables, and the owners that live on (rule H13).

use super::clock::now_ns;
use super::control::{Control, Worker};
use super::kept::{Kept, OwnerName};
use super::story::Story;
use heirloom_protocol::message::TransferReason;
use heirloom_protocol::ownership::{Ownership, WorkerId};
use heirloom_protocol::sys::Process;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

impl Control {
    /// Takes up the tables that outlived the last manager. A living owner stays the owner, and has the grace to come
    /// back; a table without one is taken back. What belongs to no table any more is forgotten, but for memory: that is
    /// an operator's to give up.
    pub(super) fn adopt(&mut self, mut kept: Kept) {
        for table in 0..self.tables.len() {
            if self.tables[table].adopted {
                self.adopt_table(table, &mut kept);
            }
        }
        for (name, _) in kept.owners {
            self.supervision.forget_owner(&name);
        }
        for table in kept.segments.keys() {
            let warning = format!(
                "the memory of table `{table}` has outlived the last manager, and the configuration has no such table: \
                 it is kept until the supervisor stops"
            );
            tracing::warn!("{warning}");
            self.warnings.push(warning);
        }
    }

    fn adopt_table(&mut self, table: usize, kept: &mut Kept) {
        let (id, epoch) = (Arc::clone(&self.tables[table].id), self.tables[table].reader.epoch());
        let mut why = if epoch == 0 { TransferReason::First } else { TransferReason::ManagerDied };
        let mut owner = None;
        if let Some((name, pidfd)) = kept.take_owner(&id, epoch) {
            match self.owner_before(&name, pidfd) {
                Ok(Some(living)) => owner = Some(living),
                Ok(None) => why = TransferReason::Died { pid: name.pid, how: None },
                Err(error) => {
                    tracing::error!(table = &*id, pid = name.pid, %error, "its owner cannot be watched");
                }
            }
            self.tables[table].kept_owner = Some(name);
        }
        let owner_pid = owner.map(|owner| owner.pid);
        tracing::info!(table = &*id, epoch, owner_pid, "a table has outlived the last manager");
        self.tables[table].story = Story::begin(now_ns());
        let (ownership, effects) = Ownership::adopted(epoch, owner, why);
        self.tables[table].ownership = ownership;
        for effect in effects {
            if let Some(input) = self.carry_out(table, effect) {
                self.feed(table, input);
            }
        }
    }

    /// The owner that an earlier manager granted a table to, without a connection as yet; none where it has died.
    fn owner_before(&mut self, name: &OwnerName, pidfd: OwnedFd) -> io::Result<Option<WorkerId>> {
        let process = Process::from_pidfd_of(pidfd, name.pid)?;
        if process.has_exited() {
            return Ok(None);
        }
        if let Some(known) = self.worker_before(&process, name.client) {
            return Ok(Some(known));
        }
        let process = Arc::new(process);
        let id = self.registry.next_id(&process);
        let watch = self.watch(id, Arc::clone(&process))?;
        self.workers.insert(id, Worker::new("".into(), process, name.client, None, Some(watch)));
        Ok(Some(id))
    }

    /// The worker that this client of that process was, under an earlier connection.
    pub(super) fn worker_before(&self, process: &Process, client: u64) -> Option<WorkerId> {
        let is_it =
            |worker: &Worker| worker.number == client && worker.process.identity() == process.identity();
        self.workers.iter().find(|(_, worker)| is_it(worker)).map(|(id, _)| *id)
    }
}
