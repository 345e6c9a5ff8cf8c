//! The store, whole and broken.

mod crashes;
mod model;
mod refused;

use super::*;
use heirloom_protocol::region::HeapRegion;
use heirloom_protocol::table::{self, Attributes, TableOptions, TableReader, TableSchema};
use std::collections::BTreeMap;
use tempfile::TempDir;

pub(super) type Values = Vec<(Vec<u8>, Attributes)>;

/// One version of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) entries: BTreeMap<Vec<u8>, Values>,
    pub(super) schema: Option<TableSchema>,
    pub(super) bequest: Option<Vec<u8>>,
}

pub(super) fn sales(kind: Kind) -> Identity {
    Identity { table: "sales".to_owned(), kind }
}

pub(super) fn stamp(version: u64) -> Stamp {
    Stamp { incarnation: 7, version }
}

/// A folder with a store in it.
pub(super) fn store(kind: Kind) -> (TempDir, PathBuf, Store) {
    let folder = tempfile::tempdir().unwrap();
    let path = path(folder.path(), "sales");
    let store = Store::open(&path, &sales(kind)).unwrap();
    (folder, path, store)
}

/// What a table that the store fills has in it.
pub(super) fn hydrated(store: &Store) -> Result<Content, StoreError> {
    let options = TableOptions { reserve_bytes: 8 << 20, ..TableOptions::new(store.of.kind, 8 << 20) };
    let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
    table::create(&region, &options).unwrap();
    let entries = store.hydrate(Arc::clone(&region))?;
    let reader = TableReader::open(region).unwrap();
    let mut content = Content {
        schema: reader.schema().unwrap().cloned(),
        bequest: reader.bequest().unwrap(),
        ..Content::default()
    };
    reader
        .scan_attributed(&mut |key, value, attributes| {
            content.entries.entry(key.to_vec()).or_default().push((value.to_vec(), attributes));
            true
        })
        .unwrap();
    if store.of.kind == Kind::Bag {
        // It keeps its values in an order of its own.
        content.entries.values_mut().for_each(|values| values.sort_by(|one, other| one.0.cmp(&other.0)));
    }
    assert_eq!(content.entries.values().map(Vec::len).sum::<usize>() as u64, entries);
    assert_eq!(entries, store.entries());
    Ok(content)
}
