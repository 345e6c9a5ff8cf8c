//! What is compared: a table in a shared segment, and three maps.

use crate::work::{VALUE_BYTES, Value};
use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::sys::segment::Segment;
use heirloom_protocol::table::{self, TableOptions, TableReader, TableWriter};
use std::sync::Arc;

/// Something that keeps values under keys.
pub(crate) trait Subject {
    /// An empty one; it may know how many entries will come, but grows from small all the same.
    fn new(entries: usize) -> Self;

    /// Inserts or overwrites.
    fn insert(&mut self, key: u64, value: &Value);

    /// Copies the value out; false where there is none.
    fn get(&self, key: u64, into: &mut Value) -> bool;
}

/// A table in its segment, one commit for each write.
pub(crate) struct Heirloom {
    pub(crate) segment: Segment,
    pub(crate) writer: TableWriter<Arc<MappedRegion>>,
}

impl Subject for Heirloom {
    fn new(entries: usize) -> Self {
        let max_bytes = (entries as u64 * 256).max(16 << 20);
        let options = TableOptions { seed: 0x5eed, incarnation: 1, ..TableOptions::set(max_bytes) };
        let segment =
            Segment::create("heirloom-bench", options.segment_bytes()).expect("a segment can be created");
        let region = Arc::new(
            MappedRegion::writable(segment.fresh_writable().expect("a descriptor can be opened"))
                .expect("the segment can be mapped"),
        );
        table::create(&region, &options).expect("the table fits");
        let writer = TableWriter::open(region, 0).expect("a new table can be written");
        Self { segment, writer }
    }

    fn insert(&mut self, key: u64, value: &Value) {
        self.writer.insert(&key.to_le_bytes(), value).expect("the table is large enough");
    }

    fn get(&self, key: u64, into: &mut Value) -> bool {
        get(self.writer.reader(), key, into)
    }
}

/// The value is copied out of the segment once, by way of a buffer that is used again for each read.
pub(crate) fn get(reader: &TableReader<Arc<MappedRegion>>, key: u64, into: &mut Value) -> bool {
    thread_local!(static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) });
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        let found = reader.get_into(&key.to_le_bytes(), buffer).expect("the table is whole");
        if found {
            into.copy_from_slice(buffer);
        }
        found
    })
}

/// hashbrown with keys and values in the map itself: the least that a map can cost.
pub(crate) struct Inline(hashbrown::HashMap<u64, Value>);

impl Subject for Inline {
    fn new(_entries: usize) -> Self {
        Self(hashbrown::HashMap::new())
    }

    fn insert(&mut self, key: u64, value: &Value) {
        self.0.insert(key, *value);
    }

    fn get(&self, key: u64, into: &mut Value) -> bool {
        self.0.get(&key).is_some_and(|value| {
            *into = *value;
            true
        })
    }
}

/// hashbrown with keys and values of any length, as a table has them.
pub(crate) struct Boxed(hashbrown::HashMap<Box<[u8]>, Box<[u8]>>);

impl Subject for Boxed {
    fn new(_entries: usize) -> Self {
        Self(hashbrown::HashMap::new())
    }

    fn insert(&mut self, key: u64, value: &Value) {
        self.0.insert(Box::new(key.to_le_bytes()), Box::new(*value));
    }

    fn get(&self, key: u64, into: &mut Value) -> bool {
        self.0.get(key.to_le_bytes().as_slice()).is_some_and(|value| {
            into.copy_from_slice(&value[..VALUE_BYTES]);
            true
        })
    }
}

/// A map that several threads read and write at once, without locks.
pub(crate) struct Papaya(papaya::HashMap<u64, Value>);

impl Subject for Papaya {
    fn new(_entries: usize) -> Self {
        Self(papaya::HashMap::new())
    }

    fn insert(&mut self, key: u64, value: &Value) {
        self.0.pin().insert(key, *value);
    }

    fn get(&self, key: u64, into: &mut Value) -> bool {
        self.0.pin().get(&key).is_some_and(|value| {
            *into = *value;
            true
        })
    }
}
