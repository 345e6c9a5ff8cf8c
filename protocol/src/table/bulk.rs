//! Many entries at once: all of them away, the expired ones away, many new ones in.
//!
//! Clearing a table is one commit that removes each entry, so readers see all of a key or nothing, snapshots keep what
//! they have, and a full table can be cleared (R15). It logs one word for each entry: 1,000,000 entries take some
//! 100 to 200 ms (`cargo bench -p heirloom-protocol --bench whole_table`) and a log of 16 MB. Their memory is reusable as
//! the slots are emptied, by the writes that follow.

use super::bucket::Slot;
use super::changes::RecordKind;
use super::class::Unit;
use super::entry::Entry;
use super::error::WriteError;
use super::transaction::Draft;
use super::writer::TableWriter;
use crate::region::Region;

/// Most entries, and most bytes of keys and values, that [`TableWriter::extend`] commits at once.
const CHUNK_ENTRIES: usize = 512;
const CHUNK_BYTES: usize = 256 * 1024;

/// How far a walk over all entries has come. It means the same however the index grows and shrinks meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// In the order of the hash's reversed bits (see [`super::scan`]): for a `set`.
    order: u64,
    /// In the order of the keys that the index has: for the other kinds.
    key: Vec<u8>,
}

impl<R: Region> TableWriter<R> {
    /// Removes all entries, as one commit, and says how many there were. Never fails for want of the table's memory.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    pub fn clear(&mut self) -> Result<u64, WriteError> {
        let (entries, _) = self.commit_with(1, |writer| writer.prepare_clear(None))?;
        self.move_horizon();
        Ok(entries)
    }

    /// Removes up to `limit` expired entries, as one commit, and says how many. It begins where the last call stopped, and looks
    /// at each entry once at most: fewer than `limit` means that none is left.
    ///
    /// # Errors
    /// See [`WriteError`]; then nothing has changed.
    pub fn remove_expired(&mut self, limit: usize) -> Result<usize, WriteError> {
        self.begin()?;
        let expired = self.find_expired(limit)?;
        self.commit_with(expired.len(), |writer| {
            for unit in &expired {
                writer.count(-1, 0)?;
                writer.prepare_removal(*unit, writer.reader.layout().block(*unit))?;
            }
            Ok(())
        })?;
        Ok(expired.len())
    }

    /// Inserts or overwrites many entries, some hundreds in each commit, and says how many. What shall be there whole or not
    /// at all belongs into a [`super::Transaction`].
    ///
    /// # Errors
    /// See [`WriteError`]; then the entries before, in whole commits, are in the table.
    pub fn extend<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u64, WriteError> {
        let mut entries = entries.into_iter().peekable();
        let mut inserted = 0;
        while entries.peek().is_some() {
            let mut transaction = self.transaction();
            let mut bytes = 0;
            let mut chunk = 0;
            for (key, value) in entries.by_ref().take(CHUNK_ENTRIES) {
                transaction.insert(key.as_ref(), value.as_ref())?;
                chunk += 1;
                bytes += key.as_ref().len() + value.as_ref().len();
                if bytes >= CHUNK_BYTES {
                    break;
                }
            }
            transaction.commit()?;
            inserted += chunk;
        }
        Ok(inserted)
    }

    /// Stages the removal of every entry, but for the keys that a transaction writes afterwards (R4).
    pub(super) fn prepare_clear(&mut self, draft: Option<&Draft>) -> Result<u64, WriteError> {
        let mut removed = 0_i32;
        let mut units = Vec::new();
        let mut place = Some(Place::default());
        while let Some(from) = place {
            place = self.entries_from(&from, &mut units)?;
            for (unit, entry) in units.drain(..) {
                let block = self.reader.layout().block(unit);
                if draft.is_some_and(|draft| self.is_drafted(draft, block, &entry)) {
                    continue;
                }
                self.stage_removal(unit, block)?;
                removed += 1;
            }
        }
        if removed == 0 {
            return Ok(0);
        }
        self.record(RecordKind::Cleared, &[]);
        self.count(-removed, 0)?;
        Ok(u64::from(removed.unsigned_abs()))
    }

    fn is_drafted(&self, draft: &Draft, block: u64, entry: &Entry) -> bool {
        let mut key = Vec::new();
        self.reader.region().copy_out(entry.key_at(block), entry.key_bytes, &mut key)
            && draft.position(self.reader.layout().hash(&key), &key).is_some()
    }

    fn find_expired(&mut self, limit: usize) -> Result<Vec<Unit>, WriteError> {
        let mut expired = Vec::new();
        let start = std::mem::take(&mut self.expired_up_to);
        let (mut from, mut is_again) = (start.clone(), false);
        let mut units = Vec::new();
        // Its bounds may be others than when it was left: then the way round ends in the middle of it, and meets it again.
        let mut at_first_place: Option<Vec<Unit>> = None;
        while expired.len() < limit {
            let next = self.entries_from(&from, &mut units)?;
            let clock = self.reader.clock();
            let is_new = |unit| at_first_place.as_ref().is_none_or(|met| !met.contains(&unit));
            let over = units.drain(..).filter(|(unit, entry)| entry.is_expired(clock) && is_new(*unit));
            expired.extend(over.map(|(unit, _)| unit));
            at_first_place.get_or_insert_with(|| expired.clone());
            if expired.len() > limit {
                // The next call begins here.
                expired.truncate(limit);
                break;
            }
            // Once round: to the end, and from the beginning to where it started.
            let at_end = next.is_none();
            from = next.unwrap_or_default();
            if is_again && (at_end || from >= start) || at_end && start == Place::default() {
                break;
            }
            is_again |= at_end;
        }
        self.expired_up_to = from;
        Ok(expired)
    }

    /// The entries that stand at a place, expired ones too, and the place after it; none after the last one.
    fn entries_from(
        &self,
        place: &Place,
        entries: &mut Vec<(Unit, Entry)>,
    ) -> Result<Option<Place>, WriteError> {
        let (region, layout) = (self.reader.region(), self.reader.layout());
        let (units, next) = if self.is_ordered() { self.leaf_from(place)? } else { self.bucket_from(place)? };
        for unit in units.into_iter().filter(|unit| !unit.is_none()) {
            let entry = Entry::read(region, layout.block(unit))
                .ok_or_else(|| WriteError::Corrupt("a slot points to what is no entry".into()))?;
            if !entry.is_removed() {
                entries.push((unit, entry));
            }
        }
        Ok(next)
    }

    fn bucket_from(&self, place: &Place) -> Result<(Vec<Unit>, Option<Place>), WriteError> {
        let (region, layout, root) = (self.reader.region(), self.reader.layout(), self.root()?);
        let number = root.bucket(place.order.reverse_bits());
        let chain = layout.chain(region, number)?;
        let units = chain.into_iter().flat_map(|bucket| Slot::entries(region, bucket)).collect();
        let last = place.order | (u64::MAX >> root.depth(number));
        Ok((units, last.checked_add(1).map(|order| Place { order, ..Place::default() })))
    }

    fn leaf_from(&self, place: &Place) -> Result<(Vec<Unit>, Option<Place>), WriteError> {
        let (units, next) = self.reader.leaf_units(&place.key)?;
        match next {
            Some(key) if key <= place.key => {
                Err(WriteError::Corrupt("the separators of the tree are not in order".into()))
            }
            next => Ok((units, next.map(|key| Place { key, ..Place::default() }))),
        }
    }
}
