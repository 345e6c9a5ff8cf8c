//! What the library needs of the operating system: a descriptor, a mapping, a connection.
//!
//! Tables are shared on Linux only. Elsewhere the library compiles all the same, so that programs can be written and
//! their tests run against [`crate::testing`]; what would need shared memory is an error that says so.

#[cfg(not(target_os = "linux"))]
mod elsewhere;

use std::io;

/// What opens a table's memory.
#[derive(Debug)]
pub enum Memory {
    /// A descriptor of its segment, to be mapped.
    Segment(OwnedFd),
    /// The segment as this process has mapped it already: its manager is in it.
    Shared(MappedRegion),
}

impl Memory {
    /// The same memory once more.
    pub(crate) fn again(&self) -> Result<Self, MapError> {
        match self {
            Self::Segment(descriptor) => {
                let copy: io::Result<OwnedFd> = descriptor.try_clone();
                copy.map(Self::Segment).map_err(MapError::Failed)
            }
            Self::Shared(region) => Ok(Self::Shared(region.share())),
        }
    }

    /// Mapped to read it.
    pub(crate) fn into_readable(self) -> Result<MappedRegion, MapError> {
        match self {
            Self::Segment(descriptor) => MappedRegion::read_only(descriptor),
            Self::Shared(region) => Ok(region),
        }
    }

    /// Mapped to write it.
    pub(crate) fn into_writable(self) -> Result<MappedRegion, MapError> {
        match self {
            Self::Segment(descriptor) => MappedRegion::writable(descriptor),
            Self::Shared(region) => Ok(region),
        }
    }
}

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
