//! Where stores are.

use super::StoreError;
use super::block::checksum;
use rustix::fs::{Access, access};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where the stores of durable tables are when nobody says otherwise: `/var/lib/heirloom` for root, else `heirloom` in
/// `$XDG_STATE_HOME`, or in `~/.local/state`.
#[must_use]
pub fn default_folder() -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/heirloom");
    }
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    // Without a home, it is an error that names the folder: what shall last is not put where files are thrown away.
    state.unwrap_or_else(|| PathBuf::from("/var/lib")).join("heirloom")
}

/// Makes the folder, for this user alone, where it is not there, and sees that files can be made in it.
pub(crate) fn prepare_folder(folder: &Path) -> Result<(), StoreError> {
    let wrong = |error| StoreError::Folder { folder: folder.to_owned(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(wrong)?;
    let usable = access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK);
    usable.map_err(|error| wrong(io::Error::from(error)))
}

/// The longest name of a file, less `.redb.new`.
const MAX_NAME_BYTES: usize = 255 - 9;

/// Where the store of a table is. What an id may have and a file's name may not, or not on every disk, is escaped as in a
/// URL; a name that is too long for a file ends in a checksum of the id.
///
/// ```
/// use heirloom_manager::store;
/// use std::path::Path;
///
/// let folder = Path::new("/var/lib/heirloom");
/// assert_eq!(store::path(folder, "sales"), folder.join("sales.redb"));
/// assert_eq!(store::path(folder, "../a b"), folder.join("%2E.%2Fa%20b.redb"));
/// ```
#[must_use]
pub fn path(folder: &Path, id: &str) -> PathBuf {
    let mut name = String::new();
    for (at, byte) in id.bytes().enumerate() {
        match byte {
            b'.' if at == 0 => name.push_str("%2E"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.len() > MAX_NAME_BYTES {
        name.truncate(MAX_NAME_BYTES - 17);
        name.push_str(&format!("~{:016x}", checksum(b"", id.as_bytes())));
    }
    folder.join(name + ".redb")
}
