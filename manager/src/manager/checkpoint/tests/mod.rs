//! What is on disk is the table, at one exact version: whatever was committed, and however far the ring goes back.

#![allow(clippy::unwrap_used)]

mod beside_an_owner;
mod host_crash;
mod model;
mod owner;
mod trouble;

use super::copy::Copier;
use crate::manager::pinning::Pinning;
use crate::store::{Identity, Store, path};
use heirloom_protocol::region::HeapRegion;
use heirloom_protocol::table::{
    self, Attributes, Clock, Kind, TableOptions, TableReader, TableSchema, TableWriter,
};
use std::sync::Arc;
use tempfile::TempDir;

/// Everything that a table has: entries in an order, the bequest, the schema.
#[derive(Debug, Clone, PartialEq)]
struct Content {
    entries: Vec<(Vec<u8>, Vec<u8>, Attributes)>,
    bequest: Option<Vec<u8>>,
    schema: Option<TableSchema>,
}

fn region(kind: Kind, incarnation: u64) -> Arc<HeapRegion> {
    let mut options = TableOptions { reserve_bytes: 4 << 20, ..TableOptions::new(kind, 2 << 20) };
    options.incarnation = incarnation;
    let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
    table::create(&region, &options).unwrap();
    table::set_followed(&region, true);
    region
}

fn writer(region: &Arc<HeapRegion>) -> TableWriter<Arc<HeapRegion>> {
    TableWriter::open(Arc::clone(region), 0).unwrap()
}

fn content(region: &Arc<HeapRegion>) -> Content {
    // By this clock nothing has expired.
    let reader = TableReader::open(Arc::clone(region)).unwrap().with_clock(Clock::manual(0));
    let mut entries = Vec::new();
    let is_set = reader.info().kind == Kind::Set;
    reader
        .scan_attributed(&mut |key, value, attributes| {
            entries.push((key.to_vec(), value.to_vec(), attributes));
            true
        })
        .unwrap();
    if is_set {
        entries.sort_by(|one, other| one.0.cmp(&other.0));
    }
    Content { entries, bequest: reader.bequest().unwrap(), schema: reader.schema().unwrap().cloned() }
}

fn identity(kind: Kind) -> Identity {
    Identity { table: "t".to_owned(), kind }
}

fn open(folder: &TempDir, kind: Kind) -> Store {
    Store::open(&path(folder.path(), "t"), &identity(kind)).unwrap()
}

fn copier(region: &Arc<HeapRegion>) -> Copier<Arc<HeapRegion>> {
    Copier::new(Arc::clone(region), Pinning::default()).unwrap()
}

/// What a table is that was filled from there.
fn stored(store: &Store, kind: Kind) -> Content {
    let filled = region(kind, 77);
    store.hydrate(Arc::clone(&filled)).unwrap();
    content(&filled)
}
