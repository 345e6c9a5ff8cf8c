//! Standard output and standard error, written so that a reader that goes away is an error value, not a panic.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::error::Error;
use std::io::{self, Write};
use std::os::fd::AsFd;

/// Writes `text` and a line break to standard output.
///
/// # Errors
/// What the operating system says; [`is_broken_pipe`] tells the harmless case.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Writes a line to standard error. There is nowhere to report that this failed.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether anybody still reads what is written there: for whoever waits long before it writes again.
pub(super) fn is_read(stream: impl AsFd) -> bool {
    let mut looked_at = [PollFd::new(&stream, PollFlags::empty())];
    // Where the kernel has no answer, the next write has.
    let _ = poll(&mut looked_at, Some(&Timespec::default()));
    !looked_at[0].revents().contains(PollFlags::ERR)
}

/// What was typed makes no sense, though clap took it: the exit status is 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}; see --help")]
pub(super) struct Usage(pub(super) String);

/// Whether an error is that nobody reads our output any more.
pub(super) fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
