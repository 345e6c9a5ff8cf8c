//! The same names where there is no Linux: nothing of this can come into being but errors.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use heirloom_protocol::region::{OutOfMemory, Region};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A descriptor of a segment.
#[derive(Debug)]
pub enum OwnedFd {}

impl OwnedFd {
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match *self {}
    }
}

/// A segment could not be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The kernel refused.
    #[error("cannot map the table: {0}")]
    Failed(#[source] io::Error),
}

/// A mapped segment.
#[derive(Debug)]
pub enum MappedRegion {}

impl MappedRegion {
    pub(crate) fn writable(descriptor: OwnedFd) -> Result<Self, MapError> {
        match descriptor {}
    }

    pub(crate) fn read_only(descriptor: OwnedFd) -> Result<Self, MapError> {
        match descriptor {}
    }

    pub(crate) fn share(&self) -> Self {
        match *self {}
    }

    pub(crate) fn is_inert(&self) -> bool {
        match *self {}
    }
}

impl Region for MappedRegion {
    fn words(&self) -> u64 {
        match *self {}
    }

    fn load(&self, _word: u64) -> u64 {
        match *self {}
    }

    fn store(&self, _word: u64, _value: u64) {
        match *self {}
    }

    fn copy_out(&self, _word: u64, _bytes: usize, _into: &mut Vec<u8>) -> bool {
        match *self {}
    }

    fn equals(&self, _word: u64, _expected: &[u8]) -> bool {
        match *self {}
    }

    fn copy_in(&self, _word: u64, _bytes: &[u8]) {
        match *self {}
    }

    fn make_present(&self, _words: Range<u64>) -> Result<(), OutOfMemory> {
        match *self {}
    }
}

/// A connection could not be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// This is not Linux.
    #[error("tables are shared on Linux only; here, test against `heirloom_worker::testing`")]
    NotLinux,
    /// Nothing to receive now.
    #[error("the connection is not ready")]
    WouldBlock,
    /// The other end is closed.
    #[error("the other side has closed the connection")]
    Closed,
    /// Another reason.
    #[error("the control connection failed: {0}")]
    Failed(#[source] io::Error),
}

/// A connection to a manager.
#[derive(Debug)]
pub(crate) enum Connection {}

/// What came beside a message.
#[derive(Debug)]
pub(crate) struct Received {
    /// The descriptors.
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Connection {
    pub(crate) fn connect(_path: &Path) -> Result<Self, SocketError> {
        Err(SocketError::NotLinux)
    }

    pub(crate) fn set_nonblocking(&self, _nonblocking: bool) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn send_message<T: Serialize>(
        &self,
        _message: &T,
        _descriptor: Option<OwnedFd>,
    ) -> Result<(), SocketError> {
        match *self {}
    }

    pub(crate) fn recv_message<T: DeserializeOwned>(&self) -> Result<Option<(T, Received)>, SocketError> {
        match *self {}
    }

    pub(crate) fn wait_readable(&self, _timeout: Option<Duration>) -> io::Result<bool> {
        match *self {}
    }

    pub(crate) fn shutdown(&self) {
        match *self {}
    }
}
