//! The bytes of a value: they say which write they are of, and all of them follow from that, so a torn value shows.
//!
//! ```text
//! write (8 bytes) │ amount, of accounts only (8 bytes) │ what these and the key make of each further word, cut off
//! ```

use super::dice::mix;
use super::tables::{FIRST_WRITE, Table};

/// One entry of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// The commit that wrote it.
    pub(super) write: u64,
    /// Of an account: what is in it.
    pub(super) amount: u64,
}

/// The bytes of an entry: 8 to some tens of thousands.
pub(super) fn bytes_of(table: Table, key: u64, entry: Entry) -> Vec<u8> {
    let mut words = vec![entry.write];
    let length = if table.is_account(key) {
        words.push(entry.amount);
        24
    } else {
        length_of(entry.write)
    };
    let seed = mix(entry.write ^ mix(key ^ entry.amount));
    let wanted = length.div_ceil(8);
    words.extend((words.len() as u64..wanted as u64).map(|place| seed.wrapping_mul(2 * place + 1)));
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    bytes.truncate(length);
    bytes
}

/// The entry that has these bytes; none where they are torn, or of another key.
pub(super) fn entry_of(table: Table, key: u64, bytes: &[u8]) -> Option<Entry> {
    let word = |place: usize| Some(u64::from_le_bytes(bytes.get(8 * place..8 * place + 8)?.try_into().ok()?));
    let amount = if table.is_account(key) { word(1)? } else { 0 };
    let entry = Entry { write: word(0)?, amount };
    (key < table.keys() && bytes == bytes_of(table, key, entry)).then_some(entry)
}

/// Most values are short, a few are not.
fn length_of(write: u64) -> usize {
    if write < FIRST_WRITE {
        return 8;
    }
    let (which, within) = (mix(write) % 100, (mix(write) / 100) as usize);
    match which {
        0..30 => 8,
        30..60 => 8 + within % 56,
        60..90 => 64 + within % 960,
        90..99 => 1024 + within % 7168,
        _ => 8192 + within % 40_960,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::TABLES;
    use super::*;

    #[test]
    fn each_byte_counts() {
        let [set, .., bag] = TABLES;
        for (table, key, write) in [(set, 3, 1007), (set, 300, 1011), (bag, 2, 5), (bag, 200, 1100)] {
            let entry = Entry { write, amount: if table.is_account(key) { 12 } else { 0 } };
            let bytes = bytes_of(table, key, entry);
            assert_eq!(entry_of(table, key, &bytes), Some(entry));
            assert!(bytes.len() == 8 || entry_of(table, key + 1, &bytes).is_none(), "of another key");
            for at in 0..bytes.len() {
                let mut torn = bytes.clone();
                torn[at] ^= 1;
                // A whole value of another write is none of this one.
                assert_ne!(entry_of(table, key, &torn), Some(entry), "byte {at}");
            }
            assert_eq!(entry_of(table, key, &bytes[..bytes.len() - 1]), None, "cut off");
        }
    }

    #[test]
    fn values_have_eight_bytes_to_tens_of_thousands() {
        let lengths: Vec<usize> = (FIRST_WRITE..FIRST_WRITE + 10_000).map(length_of).collect();
        assert_eq!(lengths.iter().min(), Some(&8));
        assert!(lengths.iter().any(|length| *length > 40_000));
        assert!(lengths.iter().sum::<usize>() / lengths.len() < 2000);
    }
}
