//! A piece of shared memory for notes that Heirloom does not manage, which other processes find by a path.

use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::sys::segment::Segment;
use std::error::Error;
use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Words that several processes see.
pub type SharedRegion = Arc<MappedRegion>;

/// Memory of this process for others to open while it lives.
#[derive(Debug)]
pub struct Shared {
    segment: Segment,
    path: PathBuf,
}

impl Shared {
    /// At least that many bytes, all zero.
    ///
    /// # Errors
    /// The kernel has no such memory to give.
    pub fn create(bytes: u64) -> Result<Self, Box<dyn Error>> {
        const STEP: u64 = 2 << 20;
        let segment = Segment::create("heirloom-notes", bytes.next_multiple_of(STEP))?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), segment.as_fd().as_raw_fd());
        Ok(Self { segment, path: path.into() })
    }

    /// Where other processes of the same user open it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same memory in this process.
    ///
    /// # Errors
    /// It cannot be mapped.
    pub fn map(&self) -> Result<SharedRegion, Box<dyn Error>> {
        Ok(Arc::new(MappedRegion::writable(self.segment.fresh_writable()?)?))
    }
}

/// Maps what [`Shared::path`] names in another process.
///
/// # Errors
/// There is no such process any more, or its memory cannot be mapped.
pub fn open_writable(path: &Path) -> Result<SharedRegion, Box<dyn Error>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| format!("the notes at {} cannot be opened: {error}", path.display()))?;
    Ok(Arc::new(MappedRegion::writable(file.into())?))
}
