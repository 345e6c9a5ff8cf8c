//! A get from the ordered index: as [`crate::table::reader`] does it, but that a miss needs only the horizon check.

use crate::region::Region;
use crate::table::entry::Attributes;
use crate::table::error::ReadError;
use crate::table::index::Nonsense;
use crate::table::layout::HORIZON;
use crate::table::reader::{Located, TableReader, corrupt};
use crate::table::versions::AsOf;

impl<R: Region> TableReader<R> {
    /// Appends the value of a key (in a bag, the first); none where it has none.
    #[inline]
    pub(in crate::table) fn read_in_order(
        &self,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<Option<Attributes>, ReadError> {
        if self.layout().kind.is_bag() {
            return self.read_first_value(AsOf::Newest, key, value);
        }
        let start = value.len();
        let horizon = self.region().load(HORIZON);
        match self.layout().find_ordered(self.region(), self.region(), key) {
            Ok(Some(found))
                if found.entry.is_there(self.clock())
                    && self.copy_value(found.block, &found.entry, value)
                    && self.stands(horizon) =>
            {
                return Ok(Some(found.entry.attributes));
            }
            Ok(None) if self.stands(horizon) => return Ok(None),
            _ => {}
        }
        value.truncate(start);
        self.get_again(key, NO_HASH, value)
    }

    /// Appends the value of a key that the index has: in a bag, of a composite one.
    pub(in crate::table) fn read_by_index_key(
        &self,
        as_of: AsOf,
        key: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<Option<Attributes>, ReadError> {
        match as_of {
            AsOf::Newest => self.get_again(key, NO_HASH, value),
            AsOf::Version(_) => self.read_version(as_of, NO_HASH, key, value),
        }
    }

    /// Finds the entry of a key that the index has, undisturbed; see [`TableReader::locate`].
    pub(in crate::table) fn locate_in_order(&self, key: &[u8], as_of: AsOf) -> Result<Located, ReadError> {
        loop {
            let horizon = self.region().load(HORIZON);
            let found = self.layout().find_ordered(self.region(), self.region(), key);
            let entry = found.and_then(|found| match found {
                Some(found) => self.resolve(found.unit, as_of),
                None => Ok(None),
            });
            if self.stands(horizon) {
                return Ok(Located { horizon, entry: entry.map_err(|Nonsense(what)| corrupt(what))? });
            }
        }
    }
}

/// The ordered index looks at no hash.
const NO_HASH: u64 = 0;
