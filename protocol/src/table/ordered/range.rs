//! What an ordered table is asked beside what every table is; how it is answered: [`super::walk`].

use std::ops::Bound;

use super::Order;
use crate::region::Region;
use crate::table::error::ReadError;
use crate::table::reader::TableReader;
use crate::table::scan::Visit;
use crate::table::snapshot::TableSnapshot;
use crate::table::versions::AsOf;

/// A key and its value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// The keys between two bounds.
#[derive(Debug, Clone, Copy)]
pub(in crate::table) struct Span<'k> {
    pub(in crate::table) from: Bound<&'k [u8]>,
    pub(in crate::table) to: Bound<&'k [u8]>,
}

impl Span<'_> {
    pub(in crate::table) const ALL: Span<'static> = Span { from: Bound::Unbounded, to: Bound::Unbounded };
}

impl<'k> Span<'k> {
    fn above(key: &'k [u8]) -> Self {
        Self { from: Bound::Excluded(key), to: Bound::Unbounded }
    }

    fn below(key: &'k [u8]) -> Self {
        Self { from: Bound::Unbounded, to: Bound::Excluded(key) }
    }
}

impl<R: Region> TableReader<R> {
    /// Calls back with the key and the value of each entry whose key lies between two bounds, in the order of the keys' bytes,
    /// until the callback returns false. Entries that are there throughout come exactly once; the whole is not as of
    /// one moment. In a bag, all values of a key come, in their order.
    ///
    /// ```
    /// # use heirloom_protocol::{region::HeapRegion, table::{self, Kind, TableOptions, TableWriter}};
    /// use heirloom_protocol::table::Order;
    /// use std::ops::Bound;
    /// # let options = TableOptions::new(Kind::OrderedSet, 1 << 20);
    /// # let region = HeapRegion::new(options.segment_bytes() / 8);
    /// # table::create(&region, &options)?;
    /// # let mut writer = TableWriter::open(region, 0)?;
    ///
    /// for car in ["Bugatti", "Ferrari", "Koenigsegg", "Pagani"] {
    ///     writer.insert(car.as_bytes(), b"")?;
    /// }
    /// let reader = writer.reader();
    /// let mut cars = Vec::new();
    /// reader.range(Bound::Excluded(b"Bugatti"), Bound::Unbounded, Order::Descending, &mut |car, _| {
    ///     cars.push(car.to_vec());
    ///     cars.len() < 2
    /// })?;
    /// assert_eq!(cars, [b"Pagani".to_vec(), b"Koenigsegg".to_vec()]);
    /// assert_eq!(reader.next(b"Bugatti")?, Some((b"Ferrari".to_vec(), vec![])));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ReadError::NotOrdered`] for a `set`, and as for [`TableReader::get`].
    pub fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        order: Order,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), ReadError> {
        self.range_attributed(from, to, order, &mut |key, value, _| each(key, value))
    }

    /// The same, and says what each entry has beside its key and value.
    ///
    /// # Errors
    /// As for [`TableReader::range`].
    pub fn range_attributed(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        order: Order,
        each: &mut Visit<'_>,
    ) -> Result<(), ReadError> {
        self.visit(AsOf::Newest, Span { from, to }, order, each)
    }

    /// The same for all keys that begin with `prefix`.
    ///
    /// # Errors
    /// As for [`TableReader::range`].
    pub fn prefix(
        &self,
        prefix: &[u8],
        order: Order,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), ReadError> {
        self.visit_prefix(AsOf::Newest, prefix, order, &mut |key, value, _| each(key, value))
    }

    /// The entry with the least key; in a bag, its first value.
    ///
    /// # Errors
    /// As for [`TableReader::range`].
    pub fn first(&self) -> Result<Option<Pair>, ReadError> {
        self.nearest(AsOf::Newest, Span::ALL, Order::Ascending)
    }

    /// The entry with the greatest key; in a bag, its last value.
    ///
    /// # Errors
    /// As for [`TableReader::range`].
    pub fn last(&self) -> Result<Option<Pair>, ReadError> {
        self.nearest(AsOf::Newest, Span::ALL, Order::Descending)
    }

    /// The entry with the least key above `key`, which need not be there; in a bag, its first value.
    ///
    /// # Errors
    /// As for [`TableReader::range`].
    pub fn next(&self, key: &[u8]) -> Result<Option<Pair>, ReadError> {
        self.nearest(AsOf::Newest, Span::above(key), Order::Ascending)
    }

    /// The entry with the greatest key below `key`, which need not be there; in a bag, its last value.
    ///
    /// # Errors
    /// As for [`TableReader::range`].
    pub fn prev(&self, key: &[u8]) -> Result<Option<Pair>, ReadError> {
        self.nearest(AsOf::Newest, Span::below(key), Order::Descending)
    }
}

/// The same as of a version: each entry of it comes exactly once.
impl<R: Region> TableSnapshot<'_, R> {
    /// See [`TableReader::range`].
    ///
    /// # Errors
    /// [`ReadError::NotOrdered`] for a `set`, and as for [`TableSnapshot::get`].
    pub fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        order: Order,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), ReadError> {
        self.range_attributed(from, to, order, &mut |key, value, _| each(key, value))
    }

    /// See [`TableReader::range_attributed`].
    ///
    /// # Errors
    /// As for [`TableSnapshot::range`].
    pub fn range_attributed(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        order: Order,
        each: &mut Visit<'_>,
    ) -> Result<(), ReadError> {
        self.reader().visit(self.as_of(), Span { from, to }, order, each)
    }

    /// See [`TableReader::prefix`].
    ///
    /// # Errors
    /// As for [`TableSnapshot::range`].
    pub fn prefix(
        &self,
        prefix: &[u8],
        order: Order,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), ReadError> {
        self.reader().visit_prefix(self.as_of(), prefix, order, &mut |key, value, _| each(key, value))
    }

    /// See [`TableReader::first`].
    ///
    /// # Errors
    /// As for [`TableSnapshot::range`].
    pub fn first(&self) -> Result<Option<Pair>, ReadError> {
        self.reader().nearest(self.as_of(), Span::ALL, Order::Ascending)
    }

    /// See [`TableReader::last`].
    ///
    /// # Errors
    /// As for [`TableSnapshot::range`].
    pub fn last(&self) -> Result<Option<Pair>, ReadError> {
        self.reader().nearest(self.as_of(), Span::ALL, Order::Descending)
    }

    /// See [`TableReader::next`].
    ///
    /// # Errors
    /// As for [`TableSnapshot::range`].
    pub fn next(&self, key: &[u8]) -> Result<Option<Pair>, ReadError> {
        self.reader().nearest(self.as_of(), Span::above(key), Order::Ascending)
    }

    /// See [`TableReader::prev`].
    ///
    /// # Errors
    /// As for [`TableSnapshot::range`].
    pub fn prev(&self, key: &[u8]) -> Result<Option<Pair>, ReadError> {
        self.reader().nearest(self.as_of(), Span::below(key), Order::Descending)
    }
}
