//! A table whose whole content one number tells, and a record of that number outside of the table: what returned is
//! there, wherever the owner was killed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Keys of the table.
pub const KEYS: u64 = 500;

/// The bytes that write number `write` leaves under its key, which is `write % KEYS`. Of varying length, so that entries change their
/// class and memory is used again; all of it says which write it is of, so that a torn value shows.
#[must_use]
pub fn value_of(write: u64) -> Vec<u64> {
    vec![write; 1 + (write.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as usize]
}

/// The key that write number `write` also removes, if any: it is back two writes later.
#[must_use]
pub fn removed_by(write: u64) -> Option<u64> {
    write.is_multiple_of(7).then_some((write + 2) % KEYS)
}

/// Which write's value a key has after write number `write`; none where it has none.
#[must_use]
pub fn standing(key: u64, write: u64) -> Option<u64> {
    let age = (write + KEYS - key) % KEYS;
    let written = write.checked_sub(age).filter(|written| *written > 0)?;
    // Removed in the one write two before the next write of the key.
    let removed = written + KEYS - 2;
    (removed > write || removed_by(removed).is_none()).then_some(written)
}

/// The write that a value is of.
///
/// # Panics
/// Where it is torn, or of another key.
#[must_use]
pub fn write_of(key: u64, value: &[u64]) -> u64 {
    let write = value[0];
    assert_eq!(value, value_of(write), "a torn value of key {key}");
    assert_eq!(write % KEYS, key, "a value of another key");
    write
}

/// The number of the last write that returned, in a file.
#[derive(Debug)]
pub struct Returned(File);

impl Returned {
    /// Opens the record, or begins it.
    ///
    /// # Errors
    /// Those of the file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?))
    }

    /// Notes that a write returned.
    ///
    /// # Errors
    /// Those of the file.
    pub fn note(&self, write: u64) -> io::Result<()> {
        self.0.write_all_at(&write.to_le_bytes(), 0)
    }

    /// The last write that returned; zero where none has.
    ///
    /// # Errors
    /// Those of the file.
    pub fn last(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        let read = self.0.read_at(&mut bytes, 0)?;
        Ok(if read == 8 { u64::from_le_bytes(bytes) } else { 0 })
    }
}
