//! Changes that are collected before they are written: each block is then read and written once.

use crate::formats::row;
use heirloom_protocol::table::Attributes;

/// Rows in the order in which they came, and where each of them is.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    changes: Vec<Change>,
}

/// One value of a key, or that it has none.
#[derive(Debug, Clone, Copy)]
struct Change {
    /// The key's first bytes, so that most comparisons look at nothing else.
    prefix: u64,
    start: u32,
    /// Where its row ends; for one without a value, where its key ends.
    end: u32,
    what: What,
}

/// What a change does to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// What the key had before goes.
    None,
    /// What the key had before goes, and this is its first value.
    First,
    /// One more value.
    More,
}

impl Batch {
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len() + self.changes.len() * size_of::<Change>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Forgets everything, and keeps no more memory than a small checkpoint wants.
    pub(super) fn clear(&mut self) {
        const KEPT: usize = 1 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.changes.clear();
        self.changes.shrink_to(KEPT / size_of::<Change>());
    }

    /// One more change; of those of one key the later count.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8], attributes: Attributes, what: What) {
        let start = self.bytes.len() as u32;
        row::put(&mut self.bytes, key, value, attributes);
        let end = self.bytes.len() as u32;
        self.changes.push(Change { prefix: prefix(key), start, end, what });
    }

    /// The changes by key, each key once.
    pub(super) fn sort(&mut self) -> Sorted<'_> {
        let Self { bytes, changes } = self;
        changes.sort_unstable_by(|one, other| {
            let by_key = one.prefix.cmp(&other.prefix).then_with(|| one.key(bytes).cmp(other.key(bytes)));
            by_key.then(one.start.cmp(&other.start))
        });
        Sorted { bytes, changes }
    }
}

impl Change {
    fn row<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    fn key<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        row::take(&mut self.row(bytes)).expect("it was put there as a row").key
    }
}

fn prefix(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    let there = key.len().min(8);
    first[..there].copy_from_slice(&key[..there]);
    u64::from_be_bytes(first)
}

/// What is left of the changes, in the order of their keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sorted<'b> {
    bytes: &'b [u8],
    changes: &'b [Change],
}

/// What becomes of one key.
#[derive(Debug)]
pub(super) struct Group<'b> {
    pub(super) key: &'b [u8],
    /// Whether the values go on after those that it has.
    pub(super) keeps: bool,
    bytes: &'b [u8],
    values: &'b [Change],
}

impl<'b> Group<'b> {
    /// The rows of its values, in their order.
    pub(super) fn rows(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let bytes = self.bytes;
        self.values.iter().filter(|value| value.what != What::None).map(move |value| value.row(bytes))
    }
}

impl<'b> Sorted<'b> {
    /// The next key, left where it is.
    pub(super) fn peek(&self) -> Option<&'b [u8]> {
        self.changes.first().map(|change| change.key(self.bytes))
    }
}

impl<'b> Iterator for Sorted<'b> {
    type Item = Group<'b>;

    fn next(&mut self) -> Option<Group<'b>> {
        let first = *self.changes.first()?;
        let key = first.key(self.bytes);
        let same = |change: &Change| change.prefix == first.prefix && change.key(self.bytes) == key;
        let (of_key, rest) =
            self.changes.split_at(self.changes.iter().take_while(|change| same(change)).count());
        self.changes = rest;
        let anew = of_key.iter().rposition(|change| change.what != What::More);
        Some(Group { key, keeps: anew.is_none(), bytes: self.bytes, values: &of_key[anew.unwrap_or(0)..] })
    }
}
