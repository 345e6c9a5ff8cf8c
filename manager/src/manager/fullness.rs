//! The warning before a table is full: once when it passes 80 percent of its limit, and again only after it has been
//! below 70.
//!
//! The manager looks: it has every table mapped, also those that nobody owns, and its log and `status` are where
//! operators look. The owner has `TableFull` and its table's `info`.

use heirloom_protocol::table::TableInfo;
use std::time::Duration;

/// How often tables are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether a table has been warned of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fullness {
    nearly_full: bool,
}

impl Fullness {
    /// Takes note of a table's numbers, and warns where that is due.
    pub(super) fn look(&mut self, table: &str, info: &TableInfo) {
        let percent = percent(info);
        match self.nearly_full {
            false if percent > 80 => {
                self.nearly_full = true;
                let (used_bytes, max_bytes) = (info.used_bytes, info.max_bytes);
                tracing::warn!(
                    table,
                    used_bytes,
                    max_bytes,
                    "a table is nearly full: raise its limit (`heirloom limit`), or remove entries"
                );
            }
            true if percent < 70 => self.nearly_full = false,
            _ => {}
        }
    }

    pub(super) fn is_nearly_full(self) -> bool {
        self.nearly_full
    }
}

fn percent(info: &TableInfo) -> u64 {
    (u128::from(info.used_bytes) * 100 / u128::from(info.max_bytes.max(1))).min(1000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use heirloom_protocol::region::HeapRegion;
    use heirloom_protocol::table::{TableOptions, TableReader, create};

    #[test]
    fn it_is_said_once_until_the_table_has_been_well_below() {
        let options = TableOptions::set(1 << 20);
        let region = HeapRegion::new(options.segment_bytes() / 8);
        create(&region, &options).unwrap();
        let mut info = TableReader::open(&region).unwrap().info();
        info.max_bytes = 1000;
        let mut fullness = Fullness::default();
        for (used, nearly_full) in
            [(800, false), (810, true), (790, true), (700, true), (690, false), (800, false), (2000, true)]
        {
            info.used_bytes = used;
            fullness.look("sales", &info);
            assert_eq!(fullness.is_nearly_full(), nearly_full, "at {used}");
        }
    }
}
