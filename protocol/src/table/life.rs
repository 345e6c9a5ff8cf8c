//! Signs of life of a table's owner (rule H16 in host.md): its commits, and what it says where it has nothing to commit.
//!
//! Both are words of the header that the owner alone stores. Whoever watches it compares two looks: a commit costs nothing
//! for that, a renewal one store, and neither a message.

use super::error::WriteError;
use super::layout::{COMMITTED, RENEWED};
use super::writer::TableWriter;
use crate::region::Region;

/// What an owner has shown of its life until now. Where two looks differ, it has shown something in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    committed: u64,
    renewed: u64,
}

/// Looks for signs of life.
pub fn life<R: Region>(region: &R) -> Life {
    Life { committed: region.load(COMMITTED), renewed: region.load(RENEWED) }
}

impl<R: Region> TableWriter<R> {
    /// Shows that the owner lives, without a commit.
    ///
    /// # Errors
    /// [`WriteError::Fenced`] where the ownership is over: then nothing is shown.
    pub fn renew(&self) -> Result<(), WriteError> {
        self.check_epoch()?;
        let region = self.reader.region();
        region.store(RENEWED, region.load(RENEWED).wrapping_add(1));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::HeapRegion;
    use crate::table::{TableOptions, begin_epoch, create};
    use std::sync::Arc;

    #[test]
    fn commits_and_renewals_are_signs_and_reads_are_not() {
        let options = TableOptions::set(1 << 20);
        let region = Arc::new(HeapRegion::new(options.segment_bytes() / 8));
        create(&region, &options).unwrap();
        begin_epoch(&region, 1).unwrap();
        let mut owner = TableWriter::open(Arc::clone(&region), 1).unwrap();
        let mut seen = life(&region);
        let mut changed = || std::mem::replace(&mut seen, life(&region)) != life(&region);
        assert!(!changed());
        owner.insert(b"a", b"1").unwrap();
        assert!(changed());
        owner.reader().get(b"a").unwrap();
        assert!(!changed());
        owner.renew().unwrap();
        assert!(changed());
        drop(owner.transaction());
        assert!(!changed());

        // Of an ownership that is over.
        begin_epoch(&region, 2).unwrap();
        assert!(matches!(owner.renew(), Err(WriteError::Fenced { handle: 1, table: 2 })));
        assert!(!changed(), "the next owner's signs are its own");
        // The next owner goes on where this one stopped.
        TableWriter::open(Arc::clone(&region), 2).unwrap().renew().unwrap();
        assert!(changed());
    }
}
