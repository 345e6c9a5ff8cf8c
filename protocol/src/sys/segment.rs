//! The shared memory of one table: a memfd that can neither grow nor shrink, and that nobody else can open.
//!
//! ```text
//!  manager                                   worker, reader
//!    original description ── maps it, recovers
//!      ├─ fresh read-write description ─────► sent, and the manager's copy closed    one per transfer
//!      └─ fresh read-only description ──────► sent                                   one per reader
//! ```
//!
//! The original is the one that `memfd_create` made. The kernel does not count it (nor what is mapped through it) as
//! a writer, and it counts every fresh one: that is what the lease proof ([`super::lease`]) stands on. So the original
//! never goes to a worker; only the descriptor store may hold a copy of it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, MemfdFlags, Mode, OFlags, SealFlags, SeekFrom};
use rustix::io::Errno;

use super::limits;
use super::{Proof, ProofError, lease};
use crate::region::{MapError, MappedRegion};

/// Segments are a multiple of this long, and mapped at a multiple of it: the size of a huge page.
pub const SEGMENT_UNIT_BYTES: u64 = 2 * 1024 * 1024;

/// What every segment is sealed with; more is allowed (`NOEXEC_SEAL` adds one).
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// With one of these, no owner could write.
const SEALS_AGAINST_WRITING: SealFlags = SealFlags::WRITE.union(SealFlags::FUTURE_WRITE);

/// The original descriptor of a table's memory; the manager's.
#[derive(Debug)]
pub struct Segment {
    original: OwnedFd,
    /// For the kernel's proof, which must not fail for want of a descriptor.
    read_only: OwnedFd,
    bytes: u64,
}

/// A segment could not be made or reopened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The kernel refused.
    #[error("cannot create the memory of table `{name}`: {source}")]
    Create {
        /// The table.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// `RLIMIT_FSIZE` is lower; without the check the kernel would send SIGXFSZ.
    #[error(
        "the memory of table `{name}` takes a file of {bytes} bytes, and RLIMIT_FSIZE is {limit}: raise it (ulimit -f)"
    )]
    FileSizeLimit {
        /// The table.
        name: String,
        /// The size of the segment.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The descriptor is something else.
    #[error(transparent)]
    NotASegment(#[from] NotASegment),
    /// A fresh description could not be had.
    #[error(
        "cannot reopen a segment through /proc/self/fd: {0} (is /proc mounted, and RLIMIT_NOFILE high enough?)"
    )]
    Reopen(#[source] io::Error),
}

/// A descriptor that is not the memory of a table, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the descriptor is no Heirloom segment: {0}")]
pub struct NotASegment(String);

impl Segment {
    /// Makes the memory of a new table: sparse, zero, `bytes` long (rounded up to [`SEGMENT_UNIT_BYTES`]; rule H1).
    ///
    /// # Errors
    /// [`SegmentError::FileSizeLimit`] and [`SegmentError::Create`].
    pub fn create(name: &str, bytes: u64) -> Result<Self, SegmentError> {
        let bytes = bytes.max(1).next_multiple_of(SEGMENT_UNIT_BYTES);
        if let Some(limit) = limits::file_size_limit().filter(|limit| *limit < bytes) {
            return Err(SegmentError::FileSizeLimit { name: name.to_owned(), bytes, limit });
        }
        let original = sealed_memfd(name, bytes)
            .map_err(|error| SegmentError::Create { name: name.to_owned(), source: error.into() })?;
        Self::of(original, bytes)
    }

    /// Takes up a segment that outlived the manager, from the descriptor store.
    ///
    /// # Errors
    /// [`SegmentError::NotASegment`] where the descriptor is something else.
    pub fn adopt(original: OwnedFd) -> Result<Self, SegmentError> {
        let bytes = check(original.as_fd())?;
        require_writable(original.as_fd())?;
        Self::of(original, bytes)
    }

    fn of(original: OwnedFd, bytes: u64) -> Result<Self, SegmentError> {
        let read_only = reopen(original.as_fd(), OFlags::RDONLY)?;
        Ok(Self { original, read_only, bytes })
    }

    /// A new description for the next owner (rule H7). Close the manager's copy as soon as it is sent: while it is
    /// open, the manager itself counts as one who can write.
    ///
    /// # Errors
    /// [`SegmentError::Reopen`].
    pub fn fresh_writable(&self) -> Result<OwnedFd, SegmentError> {
        reopen(self.original.as_fd(), OFlags::RDWR)
    }

    /// A new description for a reader.
    ///
    /// # Errors
    /// [`SegmentError::Reopen`].
    pub fn fresh_read_only(&self) -> Result<OwnedFd, SegmentError> {
        reopen(self.original.as_fd(), OFlags::RDONLY)
    }

    /// The manager's own mapping, to hydrate and to recover. It does not count for the lease.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn map(&self) -> Result<MappedRegion, MapError> {
        let copy = rustix::io::fcntl_dupfd_cloexec(&self.original, 3).map_err(MapError::from_errno)?;
        MappedRegion::writable(copy)
    }

    /// Asks the kernel whether anybody (but the manager, through the original) can still write (rule H7).
    ///
    /// # Errors
    /// [`ProofError::StillWritable`] where somebody can: try again until the grace is over.
    pub fn prove_unwritable(&self) -> Result<Proof, ProofError> {
        lease::prove_unwritable(self.read_only.as_fd())
    }

    /// The size in bytes: the address space that it takes, not its memory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The memory that it has now, in bytes; 0 where the kernel does not say.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        memory_bytes(self.original.as_fd())
    }
}

fn reopen(original: BorrowedFd<'_>, access: OFlags) -> Result<OwnedFd, SegmentError> {
    let path = format!("/proc/self/fd/{}", original.as_raw_fd());
    rustix::fs::open(path, access | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| SegmentError::Reopen(error.into()))
}

/// For the descriptor store. Never give this to a worker: it would be invisible to the lease.
impl AsFd for Segment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.original.as_fd()
    }
}

/// The size of the segment that the descriptor refers to, once it is sure that it is one and stays that long (rule H1).
pub(crate) fn check(descriptor: BorrowedFd<'_>) -> Result<u64, NotASegment> {
    let refuse = |why: String| Err(NotASegment(why));
    let status = match rustix::fs::fstat(descriptor) {
        Ok(status) => status,
        Err(error) => return refuse(error.to_string()),
    };
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return refuse("it is not shared memory at all".to_owned());
    }
    let seals = match rustix::fs::fcntl_get_seals(descriptor) {
        Ok(seals) => seals,
        Err(_) => return refuse("it is a file on a disk, not shared memory".to_owned()),
    };
    if !seals.contains(SEALS) {
        return refuse("its size is not sealed, so it could be truncated under our feet".to_owned());
    }
    if seals.intersects(SEALS_AGAINST_WRITING) {
        return refuse("it is sealed against writing".to_owned());
    }
    match u64::try_from(status.st_size) {
        Ok(bytes) if bytes > 0 && bytes % SEGMENT_UNIT_BYTES == 0 => Ok(bytes),
        _ => refuse(format!("it is {} bytes long, not a multiple of {SEGMENT_UNIT_BYTES}", status.st_size)),
    }
}

/// Whether the description allows writing.
pub(crate) fn require_writable(descriptor: BorrowedFd<'_>) -> Result<(), NotASegment> {
    match rustix::fs::fcntl_getfl(descriptor) {
        Ok(flags) if flags & OFlags::ACCMODE == OFlags::RDWR => Ok(()),
        Ok(_) => Err(NotASegment("it is open for reading only".to_owned())),
        Err(error) => Err(NotASegment(error.to_string())),
    }
}

/// The memory behind a descriptor, in bytes; 0 where the kernel does not say.
pub(crate) fn memory_bytes(descriptor: BorrowedFd<'_>) -> u64 {
    // By its definition, a block has 512 bytes here.
    rustix::fs::fstat(descriptor).map_or(0, |status| status.st_blocks as u64 * 512)
}

/// An offset before which all pages of the segment are: the least multiple of [`SEGMENT_UNIT_BYTES`]. Some twenty calls.
pub(crate) fn data_ends_before(descriptor: BorrowedFd<'_>, bytes: u64) -> u64 {
    let is_empty_from = |unit: &u64| {
        matches!(rustix::fs::seek(descriptor, SeekFrom::Data(unit * SEGMENT_UNIT_BYTES)), Err(Errno::NXIO))
    };
    let (mut below, mut end) = (0, bytes.div_ceil(SEGMENT_UNIT_BYTES));
    while below < end {
        let middle = below.midpoint(end);
        if is_empty_from(&middle) {
            end = middle;
        } else {
            below = middle + 1;
        }
    }
    end * SEGMENT_UNIT_BYTES
}

/// Whether this process's user owns the segment, or is root.
pub(crate) fn is_ours(descriptor: BorrowedFd<'_>) -> bool {
    let user = rustix::process::geteuid();
    user.is_root() || rustix::fs::fstat(descriptor).is_ok_and(|status| status.st_uid == user.as_raw())
}

fn sealed_memfd(name: &str, bytes: u64) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let name = format!("heirloom:{name}");
    let memfd = match rustix::fs::memfd_create(&name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Linux before 6.3 does not know the flag.
        Err(Errno::INVAL) => rustix::fs::memfd_create(&name, flags)?,
        answer => answer?,
    };
    // The default mode would let other users reopen it through /proc.
    rustix::fs::fchmod(&memfd, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::ftruncate(&memfd, bytes)?;
    rustix::fs::fcntl_add_seals(&memfd, SEALS)?;
    Ok(memfd)
}
