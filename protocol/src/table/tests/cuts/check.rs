//! What must hold at each cut.

use std::cell::Cell;

use super::operation::Content;
use crate::region::{HeapRegion, RecordingRegion, Region};
use crate::table::ordered::Span;
use crate::table::versions::AsOf;
use crate::table::{self, Clock, Kind, Order, Pin, TableReader, TableWriter, WriteError};

/// A pinned version, and what the table held then.
pub(super) type Pinned = (Pin, Content);

/// A reader for whom nothing has expired.
pub(super) fn open<R: Region>(region: R) -> TableReader<R> {
    let reader = TableReader::open(region).expect("a reader opens a table whatever its owner was doing");
    reader.with_clock(Clock::standing(0))
}

/// Visits all entries by the keys that the index has, until the callback returns false.
pub(super) fn visit<R: Region>(
    reader: &TableReader<R>,
    as_of: AsOf,
    order: Order,
    each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) {
    let each = &mut |key: &[u8], value: &[u8], _| each(key, value);
    if reader.layout().kind.is_ordered() {
        reader.walk(as_of, Span::ALL, order, usize::MAX, each).expect("a walk");
    } else {
        reader.scan_as_of(as_of, each).expect("a scan");
    }
}

/// The value of a key that the index has.
fn get<R: Region>(reader: &TableReader<R>, as_of: AsOf, key: &[u8], value: &mut Vec<u8>) -> bool {
    value.clear();
    let found = match reader.layout().kind {
        Kind::Bag | Kind::DuplicateBag => reader.read_by_index_key(as_of, key, value),
        _ => reader.read_as_of(as_of, key, value),
    };
    found.expect("a get").is_some()
}

fn bequest<R: Region>(reader: &TableReader<R>, as_of: AsOf) -> Option<Vec<u8>> {
    match as_of {
        AsOf::Newest => reader.bequest(),
        AsOf::Version(pin) => reader.snapshot_taken_at(pin, 0).bequest(),
    }
    .expect("the bequest")
}

/// Whether a scan and the bequest are exactly that.
pub(super) fn holds<R: Region>(reader: &TableReader<R>, as_of: AsOf, content: &Content) -> bool {
    let (mut met, mut all_right) = (0, true);
    visit(reader, as_of, Order::Ascending, &mut |key, value| {
        met += 1;
        all_right &= content.entries.get(key).is_some_and(|is| is == value);
        all_right
    });
    all_right && met == content.entries.len() && bequest(reader, as_of) == content.bequest
}

/// So many keys that do not change are asked for, other ones at each cut. A scan meets all of them anyway.
const ASKED: usize = 8;
/// So many keys are removed and inserted again by an heir.
const INHERITED: usize = 4;

/// What can be seen at the cuts of an operation.
pub(super) struct Moment<'a> {
    operation: &'static str,
    pub(super) before: &'a Content,
    pub(super) after: &'a Content,
    pinned: &'a [Pinned],
    /// The keys that have other values before than after, or are in one of them only; and the others.
    changing: Vec<&'a Vec<u8>>,
    staying: Vec<&'a Vec<u8>>,
    /// At how many cuts readers have looked.
    turn: Cell<usize>,
}

impl<'a> Moment<'a> {
    pub(super) fn new(
        operation: &'static str,
        before: &'a Content,
        after: &'a Content,
        pinned: &'a [Pinned],
    ) -> Self {
        let (changing, staying): (Vec<_>, Vec<_>) =
            before.entries.keys().partition(|key| before.entries.get(*key) != after.entries.get(*key));
        let new = after.entries.keys().filter(|key| !before.entries.contains_key(*key));
        let changing = changing.into_iter().chain(new).collect();
        Self { operation, before, after, pinned, changing, staying, turn: Cell::default() }
    }

    /// The keys that are asked for: all that change, and some that do not.
    fn asked(&self) -> impl Iterator<Item = &'a Vec<u8>> {
        let staying = &self.staying;
        let some = (0..ASKED.min(staying.len()))
            .map(move |number| staying[(self.turn.get() * ASKED + number) % staying.len()]);
        self.changing.iter().copied().chain(some)
    }

    /// Each key, and the bequest, is as in one or the other. An entry that neither has is not there.
    pub(super) fn readers_see(&self, image: &HeapRegion) {
        self.turn.set(self.turn.get() + 1);
        let (reader, operation) = (open(image), self.operation);
        let mut value = Vec::new();
        for key in self.asked() {
            let found = get(&reader, AsOf::Newest, key, &mut value).then_some(&value);
            let (before, after) = (self.before.entries.get(key), self.after.entries.get(key));
            let is_known = found == before || found == after;
            assert!(is_known, "{operation}: {key:?} is {found:?}, was {before:?}, will be {after:?}");
        }
        let bequest = reader.bequest().expect("the bequest");
        let is_known = bequest == self.before.bequest || bequest == self.after.bequest;
        assert!(is_known, "{operation}: the bequest is {bequest:?}");
        self.scans_see(&reader, Order::Ascending);
        if reader.layout().kind.is_ordered() {
            self.scans_see(&reader, Order::Descending);
        }
        self.snapshots_see(&reader);
    }

    fn scans_see(&self, reader: &TableReader<&HeapRegion>, order: Order) {
        let (operation, is_ordered) = (self.operation, reader.layout().kind.is_ordered());
        let mut met: Vec<Vec<u8>> = Vec::new();
        visit(reader, AsOf::Newest, order, &mut |key, value| {
            let is = |content: &Content| content.entries.get(key).is_some_and(|is| is == value);
            assert!(is(self.before) || is(self.after), "{operation}: a scan meets {key:?}");
            let in_order = met.last().is_none_or(|last| (**last < *key) == (order == Order::Ascending));
            assert!(in_order || !is_ordered, "{operation}: a scan meets {key:?} after {:?}", met.last());
            met.push(key.to_vec());
            true
        });
        met.sort_unstable();
        assert!(met.windows(2).all(|two| two[0] != two[1]), "{operation}: a scan meets a key twice: {met:?}");
        for key in self.before.entries.keys().filter(|key| self.after.entries.contains_key(*key)) {
            assert!(met.binary_search(key).is_ok(), "{operation}: a scan misses {key:?}");
        }
    }

    /// Each pinned version is exactly as it was.
    fn snapshots_see<R: Region>(&self, reader: &TableReader<R>) {
        let mut value = Vec::new();
        for (pin, content) in self.pinned {
            let (operation, version, as_of) = (self.operation, pin.version(), AsOf::Version(*pin));
            let gone =
                content.entries.keys().skip(self.turn.get() % content.entries.len().max(1)).take(ASKED);
            for key in self.asked().chain(gone) {
                let found = get(reader, as_of, key, &mut value).then_some(&value);
                assert_eq!(found, content.entries.get(key), "{operation}: {key:?} as of {version}");
            }
            assert!(holds(reader, as_of, content), "{operation}: the snapshot of {version}");
            let len = reader.snapshot_taken_at(*pin, 0).len().expect("the length of a snapshot");
            assert_eq!(len, content.entries.len() as u64, "{operation}: the length of {version}");
        }
    }

    /// What the table holds, which is all of before or all of after.
    pub(super) fn whole(&self, image: &HeapRegion, as_of: AsOf) -> &'a Content {
        let reader = open(image);
        let whole = [self.after, self.before].into_iter().find(|content| holds(&reader, as_of, content));
        whole.unwrap_or_else(|| panic!("{}: neither before nor after, {as_of:?}", self.operation))
    }

    /// The table is whole, and so is what heirs make of it. What they do is undone.
    pub(super) fn heirs_go_on(&self, image: &HeapRegion, content: &Content) {
        let inherited = RecordingRegion::new(image);
        let report = self.verify(image);
        assert_eq!(report.entries, content.entries.len() as u64, "{}", self.operation);
        self.heir_goes_on(&inherited, 1);
        self.verify(image);
        if !self.pinned.is_empty() {
            self.snapshots_see(&open(image));
            for (pin, _) in self.pinned {
                table::unpin(&inherited, *pin);
            }
            self.heir_goes_on(&inherited, 2);
            self.verify(image);
        }
        inherited.undo();
    }

    fn verify(&self, image: &HeapRegion) -> table::VerifyReport {
        table::verify(image).unwrap_or_else(|error| panic!("{}: {error}", self.operation))
    }

    /// The heir removes, inserts, overwrites and reclaims over several batches.
    fn heir_goes_on(&self, region: &RecordingRegion<&HeapRegion>, round: u8) {
        let writer = TableWriter::open(region, 0).expect("the heir opens a recovered table");
        let mut writer = writer.with_clock(Clock::standing(0));
        writer.batch_commits = 3;
        let mut entries = writer.reader().len();
        for (number, key) in self.inherited(writer.reader()).iter().enumerate() {
            let there = writer.reader().count(key).expect("a count");
            entries -= there;
            assert_eq!(writer.remove(key).expect("removing always works"), there > 0);
            entries += put(&mut writer, key, &[round + number as u8; 24]);
        }
        for number in 0..8 {
            entries += put(&mut writer, &[0xee, number % 3], &[round * number; 40]);
        }
        assert_eq!(writer.reader().len(), entries, "{}", self.operation);
    }

    /// Keys that an heir finds, by those that users know, and those that the operation was about first.
    fn inherited<R: Region>(&self, reader: &TableReader<R>) -> Vec<Vec<u8>> {
        if !reader.layout().kind.is_bag() {
            return self.asked().take(INHERITED).cloned().collect();
        }
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let each = &mut |key: &[u8], _: &[u8]| {
            if keys.last().is_none_or(|last| last != key) {
                keys.push(key.to_vec());
            }
            keys.len() < INHERITED
        };
        reader.scan(each).expect("a scan");
        keys
    }
}

/// Inserts where there is room; how many entries there are more.
fn put<R: Region>(writer: &mut TableWriter<R>, key: &[u8], value: &[u8]) -> u64 {
    match writer.insert(key, value) {
        Ok(replaced) => {
            let mut is_there = false;
            let each = &mut |is: &[u8]| {
                is_there |= is == value;
                !is_there
            };
            writer.reader().values(key, each).expect("the values of a key");
            assert!(is_there, "what an heir inserted is not there");
            u64::from(!replaced)
        }
        Err(WriteError::TableFull { .. }) => 0,
        Err(error) => panic!("{error}"),
    }
}
