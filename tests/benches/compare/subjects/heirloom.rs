//! A table in its segment, a commit for each write.

use crate::turn::Subject;
use crate::work::{Value, Writes, add_words, bytes_of, read_each};
use heirloom_protocol::region::MappedRegion;
use heirloom_protocol::sys::segment::Segment;
use heirloom_protocol::table::{self, Kind, Modify, TableOptions, TableReader, TableWriter};
use std::sync::Arc;

pub(crate) struct Heirloom<const ORDERED: bool> {
    pub(crate) segment: Segment,
    pub(crate) region: Arc<MappedRegion>,
    pub(crate) writer: TableWriter<Arc<MappedRegion>>,
}

impl<const ORDERED: bool> Heirloom<ORDERED> {
    /// Of any size: the stress run has a small one.
    pub(crate) fn with_limit(max_bytes: u64) -> Self {
        let kind = if ORDERED { Kind::OrderedSet } else { Kind::Set };
        let options = TableOptions { seed: 0x5eed, incarnation: 1, ..TableOptions::new(kind, max_bytes) };
        let segment =
            Segment::create("heirloom-compare", options.segment_bytes()).expect("a segment can be created");
        let writable = segment.fresh_writable().expect("a descriptor can be opened");
        let region = Arc::new(MappedRegion::writable(writable).expect("the segment can be mapped"));
        table::create(&region, &options).expect("the table fits");
        let writer = TableWriter::open(region.clone(), 0).expect("a new table can be written");
        Self { segment, region, writer }
    }
}

impl<const ORDERED: bool> Subject for Heirloom<ORDERED> {
    const COUNTS: bool = true;

    fn new(entries: usize) -> Self {
        Self::with_limit((entries as u64 * 256).max(32 << 20))
    }

    fn write(&mut self, writes: Writes<'_>) {
        for (key, value) in writes.iter() {
            self.writer.insert(&bytes_of(key), &value).expect("the table is large enough");
        }
    }

    fn read(&mut self, keys: &[u64]) -> u64 {
        read_all(self.writer.reader(), keys)
    }

    fn remove(&mut self, keys: &[u64]) {
        for key in keys {
            assert!(self.writer.remove(&bytes_of(*key)).expect("the table is whole"), "key {key} is there");
        }
    }

    fn count(&mut self, keys: &[u64]) {
        for key in keys {
            self.writer.add(&bytes_of(*key), 1).expect("all values are counters");
        }
    }

    /// As of one version, whoever writes meanwhile.
    fn scan(&mut self) -> Option<u64> {
        let (pin, mut sum) = (table::pin(&self.region).expect("there are no other pins"), 0);
        let snapshot = self.writer.reader().snapshot(pin);
        let scanned = snapshot.scan(&mut |_, value| {
            sum = add_words(sum, value);
            true
        });
        scanned.expect("the pin stands");
        table::unpin(&self.region, pin);
        Some(sum)
    }

    fn bytes(&mut self, _grown: u64) -> u64 {
        self.writer.reader().info().used_bytes
    }
}

/// Each value is copied out of the segment once, by way of a buffer that is used again for the next.
pub(crate) fn read_all(reader: &TableReader<Arc<MappedRegion>>, keys: &[u64]) -> u64 {
    let mut buffer = Vec::new();
    read_each(keys, |key, into: &mut Value| {
        buffer.clear();
        let found = reader.get_into(&bytes_of(key), &mut buffer).expect("the table is whole");
        if found {
            into.copy_from_slice(&buffer);
        }
        found
    })
}
