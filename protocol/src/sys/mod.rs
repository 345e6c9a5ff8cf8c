//! The system calls behind Heirloom, and nothing that decides anything.
//!
//! | file | what it is | rules |
//! | --- | --- | --- |
//! | [`segment`] | the sealed memfd of one table, and fresh descriptors of it | H1, H7 |
//! | [`lease`] | the kernel's proof that nobody can write | H7, H8 |
//! | [`writers`] | who seems to hold it writable, for messages to people | H7 |
//! | [`process`] | a process by its pidfd: death, identity, kill | H10, H11, H14, H15 |
//! | [`socket`] | a connection of whole messages, with descriptors and the kernel's word on the sender | H12, H18, H19 |
//! | [`peer`] | who is at the other end of one | H10, H12 |
//! | [`listener`] | where connections come from | H20 |
//! | [`notify`] | `sd_notify`: both ends of it | H21, H24 |
//! | [`inherit`] | `LISTEN_FDS`: both ends of it | H22, H23 |
//! | [`limits`] | how much memory may still be taken | H1, H2, H5 |
//! | [`features`] | what this kernel lacks | all |
//!
//! Rule H17, for all of these: code that shares the owner's address space (`CLONE_VM`) *is* the owner.
#![allow(unsafe_code)]

mod cgroup;
pub mod features;
pub mod inherit;
pub mod lease;
pub mod limits;
pub mod listener;
#[doc(hidden)]
pub mod needs;
pub mod notify;
mod packet;
pub mod peer;
mod pidfd;
pub mod process;
pub mod segment;
pub mod socket;
#[doc(hidden)]
pub mod testing;
pub mod writers;

pub use features::Features;
pub use lease::{Proof, ProofError};
pub use listener::{ListenError, Listener};
pub use peer::{Credentials, Peer};
pub use process::{Identity, KillError, Process};
pub use rustix::process::Signal;
pub use segment::{NotASegment, Segment, SegmentError};
pub use socket::{Connection, Received, SocketError};
