//! The one place where descriptors are given to the event loop.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The event loop's eye on a descriptor. To be called inside the runtime.
#[expect(
    deprecated,
    reason = "what replaces it is unsafe, because a type might change its descriptor; that `T` is `AsFd` rules it out"
)]
pub(super) fn watch<T: AsFd + AsRawFd>(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(inner, interest)
}
