//! Who seems to hold a segment writable: for messages to people, never for a decision (that is the lease's).

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::Segment;

/// A process that could write, as far as `/proc` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Writer {
    /// Its number.
    pub pid: u32,
    /// Whether it has the segment mapped for writing; else it has a descriptor.
    pub mapped: bool,
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, if self.mapped { "mapped" } else { "descriptor" })
    }
}

/// The processes that hold the segment writable, without those in `except`: the caller's own number, and those who
/// keep copies of the original descriptor (the supervisor), since these cannot be told from others here.
///
/// Best effort: processes of other users are not seen, and all may change while it looks. Takes milliseconds.
#[must_use]
pub fn writers_of(segment: &Segment, except: &[u32]) -> Vec<Writer> {
    let Ok(status) = rustix::fs::fstat(segment) else { return Vec::new() };
    let file = (status.st_dev, status.st_ino);
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| !except.contains(pid))
        .filter_map(|pid| {
            let folder = Path::new("/proc").join(pid.to_string());
            let mapped = maps_writable(&folder, file.1);
            (mapped || has_writable_descriptor(&folder, file)).then_some(Writer { pid, mapped })
        })
        .collect()
}

fn maps_writable(process: &Path, inode: u64) -> bool {
    let Ok(maps) = std::fs::read_to_string(process.join("maps")) else { return false };
    maps.lines().any(|line| {
        // address, permissions, offset, device, inode, name
        let mut fields = line.split_ascii_whitespace();
        let permissions = fields.nth(1).unwrap_or_default();
        let same_inode = fields.nth(2).and_then(|number| number.parse().ok()) == Some(inode);
        same_inode
            && permissions.contains('w')
            && permissions.ends_with('s')
            && line.contains("memfd:heirloom:")
    })
}

fn has_writable_descriptor(process: &Path, file: (u64, u64)) -> bool {
    let Ok(descriptors) = std::fs::read_dir(process.join("fd")) else { return false };
    descriptors.flatten().any(|entry| {
        // A look at any other file may wait for ever: on a server that is gone, say.
        let is_memfd = std::fs::read_link(entry.path())
            .is_ok_and(|name| name.as_os_str().as_bytes().starts_with(b"/memfd:"));
        let same_file = is_memfd
            && std::fs::metadata(entry.path()).is_ok_and(|status| (status.dev(), status.ino()) == file);
        same_file && is_open_for_writing(&process.join("fdinfo").join(entry.file_name()))
    })
}

fn is_open_for_writing(information: &Path) -> bool {
    let text = std::fs::read_to_string(information).unwrap_or_default();
    let flags =
        text.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    flags.is_some_and(|flags| flags & OFlags::ACCMODE.bits() != OFlags::RDONLY.bits())
}
