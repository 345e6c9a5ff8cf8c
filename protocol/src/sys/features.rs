//! What this kernel can do: tried at start, never assumed from a version.

use std::os::fd::AsFd;
use std::sync::OnceLock;

use rustix::fs::MemfdFlags;

use super::{Connection, Process, Proof, Segment, packet, pidfd};
use crate::region::mapped;

/// What is there. Every field is true on Linux 6.16 with default settings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Features {
    /// Memfds that can never be executed (Linux 6.3).
    pub noexec_seal: bool,
    /// `MADV_POPULATE_WRITE` (Linux 5.14).
    pub populate: bool,
    /// `MADV_COLLAPSE` of shared memory into huge pages (Linux 6.1).
    pub collapse: bool,
    /// Read leases on memfds, the proof that nobody can write (rule H7).
    pub lease: bool,
    /// The pidfd of a socket's peer from the kernel (Linux 6.5; rule H10).
    pub peer_pidfd: bool,
    /// Inodes of their own for pidfds (Linux 6.9).
    pub pidfd_inode: bool,
    /// Sockets that refuse descriptors (Linux 6.16; rule H19).
    pub refuse_descriptors: bool,
}

impl Features {
    /// What was found at the first call.
    pub fn get() -> &'static Self {
        static FOUND: OnceLock<Features> = OnceLock::new();
        FOUND.get_or_init(Self::probe)
    }

    /// Tries everything once more.
    #[must_use]
    pub fn probe() -> Self {
        let segment = Segment::create("probe", 1).ok();
        let socket = Connection::pair().ok().map(|(one, _)| one);
        let region = segment.as_ref().and_then(|segment| segment.map().ok());
        Self {
            noexec_seal: rustix::fs::memfd_create(
                "heirloom:probe",
                MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL,
            )
            .is_ok(),
            populate: region.as_ref().is_some_and(mapped::can_populate),
            collapse: region.as_ref().is_some_and(mapped::can_collapse),
            lease: segment.is_some_and(|segment| matches!(segment.prove_unwritable(), Ok(Proof::Proven))),
            peer_pidfd: socket.as_ref().is_some_and(|socket| pidfd::of_peer(socket.as_fd()).is_ok()),
            pidfd_inode: Process::current()
                .is_ok_and(|process| pidfd::has_own_inode(process.as_fd()).unwrap_or(false)),
            refuse_descriptors: socket.is_some_and(|socket| packet::refuse_descriptors(socket.as_fd())),
        }
    }

    /// One sentence for each thing that is missing: what, and what it means.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let sentences = [
            (
                self.lease,
                "the kernel cannot prove that nobody can write a table (no read leases on memfds, sysctl fs.leases-enable): a table is handed on when its owner's pidfd says that it died, and a child that the owner forked could still write",
            ),
            (
                self.populate,
                "MADV_POPULATE_WRITE is missing (Linux 5.14): when memory runs out, a writer may be killed by SIGBUS instead of getting an error",
            ),
            (
                self.collapse,
                "MADV_COLLAPSE is missing (Linux 6.1, with transparent huge pages): the death of an owner with a large table is noticed some 30 ms per GiB later",
            ),
            (
                self.peer_pidfd,
                "SO_PEERPIDFD is missing (Linux 6.5): processes in sibling PID namespaces cannot be workers",
            ),
            (
                self.pidfd_inode,
                "pidfds have no inodes of their own (Linux 6.9): processes are told apart by number and start time, and those in sibling PID namespaces cannot be workers",
            ),
            (
                self.refuse_descriptors,
                "SO_PASSRIGHTS is missing (Linux 6.16): a client that sends descriptors can delay the manager",
            ),
            (
                self.noexec_seal,
                "MFD_NOEXEC_SEAL is missing (Linux 6.3): table memory could be executed by its own user",
            ),
        ];
        sentences.into_iter().filter(|(there, _)| !there).map(|(_, sentence)| sentence.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_feature_has_a_sentence() {
        let nothing = Features {
            noexec_seal: false,
            populate: false,
            collapse: false,
            lease: false,
            peer_pidfd: false,
            pidfd_inode: false,
            refuse_descriptors: false,
        };
        assert_eq!(nothing.missing().len(), 7);
        assert!(Features::probe().populate, "this test runs on Linux 5.14 or newer");
    }
}
