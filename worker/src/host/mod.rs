//! What the library needs of the operating system: a descriptor, a mapping, a connection.
//!
//! Tables are shared on Linux only. Elsewhere the library compiles all the same, so that programs can be written and
//! their tests run against [`crate::testing`]; what would need shared memory is an error that says so.

#[cfg(not(target_os = "linux"))]
mod elsewhere;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{MapError, SocketError};
#[cfg(target_os = "linux")]
pub use heirloom_protocol::{region::MapError, sys::SocketError};

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{Connection, MappedRegion, OwnedFd};
#[cfg(target_os = "linux")]
pub(crate) use {
    heirloom_protocol::{region::MappedRegion, sys::Connection},
    std::os::fd::OwnedFd,
};
