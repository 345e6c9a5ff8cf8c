//! Tables on the heap, for one's own tests: no daemon, no shared memory, any platform.
//!
//! They are the same engine and the same handles; only the manager is missing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use heirloom_protocol::message::TransferReason;
use heirloom_protocol::region::HeapRegion;
use heirloom_protocol::table::{self, Clock, Kind, MIN_BYTES, TableOptions};
use serde::Serialize;

mod die;
mod frail;

pub use die::die_at_each_commit;
pub(crate) use frail::{FrailRegion, HeapTable};

use crate::client::Source;
use crate::codec::{Key, Value};
use crate::engine::ReadHandle;
use crate::reader::Reader;
use crate::transfer::{Offer, Transfer};
use crate::writer::Writer;

/// What a table of a test is.
#[derive(Debug, Clone)]
pub struct Table {
    id: String,
    options: TableOptions,
}

impl Table {
    /// One value for each key, in no order; 1 MiB, unless said otherwise.
    #[must_use]
    pub fn set(id: &str) -> Self {
        Self::of(Kind::Set, id)
    }

    /// One value for each key, in the order of the keys.
    #[must_use]
    pub fn ordered_set(id: &str) -> Self {
        Self::of(Kind::OrderedSet, id)
    }

    /// Several different values for each key.
    #[must_use]
    pub fn bag(id: &str) -> Self {
        Self::of(Kind::Bag, id)
    }

    /// Several values for each key, equal ones too, in the order in which they were inserted.
    #[must_use]
    pub fn duplicate_bag(id: &str) -> Self {
        Self::of(Kind::DuplicateBag, id)
    }

    fn of(kind: Kind, id: &str) -> Self {
        Self { id: id.to_owned(), options: TableOptions::new(kind, 1024 * 1024) }
    }

    /// The table's limit, in bytes; the smallest table has 256 KiB.
    #[must_use]
    pub fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.options = TableOptions::new(self.options.kind, max_bytes.max(MIN_BYTES));
        self
    }
}

/// An empty table, its writer and a reader of it.
///
/// # Panics
/// Where the machine has not the memory for it.
#[must_use]
pub fn table<K: Key + ?Sized, V: Value + ?Sized>(table: Table) -> (Writer<K, V>, Reader<K, V>) {
    let mut rehearsal = Rehearsal::new(table);
    let writer = rehearsal.transfer().accept().expect("a rehearsed transfer is granted");
    (writer, rehearsal.reader())
}

/// Plays the manager's part for one table: makes the transfers that a worker under test takes, one after the other.
///
/// ```
/// use heirloom_worker::testing::{Rehearsal, Table};
///
/// let mut sales = Rehearsal::new(Table::set("sales"));
/// let first = sales.transfer().accept::<String, u64>()?;
/// drop(first); // it "dies"
///
/// let second = sales.transfer();
/// assert_eq!(second.epoch(), 2);
/// assert_eq!(second.bequest::<u64>()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Rehearsal {
    id: String,
    memory: HeapTable,
    epoch: u64,
    gift: String,
}

impl Rehearsal {
    /// A new, empty table.
    ///
    /// # Panics
    /// Where the machine has not the memory for it.
    #[must_use]
    pub fn new(table: Table) -> Self {
        let Table { id, options } = table;
        let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
        table::create(&region, &options).expect("the heap has room for the table");
        Self {
            id,
            memory: HeapTable { region, clock: Clock::default(), death: None },
            epoch: 0,
            gift: String::new(),
        }
    }

    /// Gift data for every transfer from now on.
    ///
    /// # Panics
    /// Where `gift` cannot be JSON.
    #[must_use]
    pub fn gift(mut self, gift: &impl Serialize) -> Self {
        self.gift = serde_json::to_string(gift).expect("gift data is JSON");
        self
    }

    /// The clock that all handles from now on compare the deadlines of entries with.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.memory.clock = clock;
        self
    }

    /// Takes the table back from whoever has it, and offers it anew: an older writer is fenced.
    ///
    /// # Panics
    /// Where the table is corrupt.
    pub fn transfer(&mut self) -> Transfer {
        table::recover(&self.memory.region).expect("a table of our own");
        self.epoch += 1;
        table::begin_epoch(&self.memory.region, self.epoch).expect("a table of our own");
        let offer = Offer {
            table: self.id.clone(),
            epoch: self.epoch,
            gift: self.gift.clone(),
            reason: TransferReason::First,
            expires: Instant::now() + Duration::from_secs(3600),
        };
        Transfer::rehearsed(offer, self.memory.clone())
    }

    /// Reads the table.
    ///
    /// # Panics
    /// Where the table is corrupt.
    #[must_use]
    pub fn reader<K: Key + ?Sized, V: Value + ?Sized>(&self) -> Reader<K, V> {
        let segment = ReadHandle::heap(Arc::clone(&self.memory.region), self.memory.clock.clone())
            .expect("a table of our own");
        Reader::new(Source::new(self.id.clone(), segment, None))
    }
}
