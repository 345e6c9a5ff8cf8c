//! One entry as bytes: in a dump, and in a table's store on disk.
//!
//! ```text
//!  flags: u8 │ key bytes: u32 │ value bytes: u32 │ [ deadline: u64 ] [ schema: u32 ] │ key │ value
//! ```
//!
//! Numbers are little-endian. Flag 1 says that the entry expires, at its deadline in milliseconds of UNIX time; flag 2 that
//! it has a schema version.

use super::Entry;
use heirloom_protocol::table::{Attributes, Kind};

/// Most bytes of an entry before its key.
pub(crate) const ROW_BYTES: usize = 21;

const EXPIRES: u8 = 1;
const SCHEMA: u8 = 2;

/// Appends an entry. No table has keys or values whose lengths do not fit.
pub(crate) fn put(rows: &mut Vec<u8>, key: &[u8], value: &[u8], attributes: Attributes) {
    let Attributes { deadline_ms, schema_version } = attributes;
    let expires = if deadline_ms.is_some() { EXPIRES } else { 0 };
    let mut head = [0; 9];
    head[0] = expires | if schema_version.is_some() { SCHEMA } else { 0 };
    head[1..5].copy_from_slice(&(key.len() as u32).to_le_bytes());
    head[5..9].copy_from_slice(&(value.len() as u32).to_le_bytes());
    rows.reserve(ROW_BYTES + key.len() + value.len());
    rows.extend_from_slice(&head);
    deadline_ms.iter().for_each(|at| rows.extend_from_slice(&at.to_le_bytes()));
    schema_version.iter().for_each(|version| rows.extend_from_slice(&version.to_le_bytes()));
    rows.extend_from_slice(key);
    rows.extend_from_slice(value);
}

/// Takes the first entry of some rows; `None` where they do not begin with a whole one.
#[inline]
pub(crate) fn take<'p>(rest: &mut &'p [u8]) -> Option<Entry<'p>> {
    let head = rest.split_off(..9)?;
    let flags = head[0];
    if flags & !(EXPIRES | SCHEMA) != 0 {
        return None;
    }
    let length =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let deadline_ms = match flags & EXPIRES {
        0 => None,
        _ => Some(u64::from_le_bytes(*rest.split_off(..8)?.first_chunk()?)),
    };
    let schema_version = match flags & SCHEMA {
        0 => None,
        _ => Some(u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?)),
    };
    let key = rest.split_off(..length(1))?;
    let value = rest.split_off(..length(5))?;
    Some(Entry { key, value, attributes: Attributes { deadline_ms, schema_version }, line: None })
}

/// A kind of table as a number in files; zero for one that is newer than these formats.
pub(crate) fn code_of(kind: Kind) -> u8 {
    match kind {
        Kind::Set => 1,
        Kind::OrderedSet => 2,
        Kind::Bag => 3,
        Kind::DuplicateBag => 4,
        _ => 0,
    }
}

/// The kind of that number.
pub(crate) fn kind_of(code: u8) -> Option<Kind> {
    [Kind::Set, Kind::OrderedSet, Kind::Bag, Kind::DuplicateBag]
        .into_iter()
        .find(|kind| code_of(*kind) == code)
}
