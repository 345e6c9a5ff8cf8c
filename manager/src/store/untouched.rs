//! A file that redb may write to without changing it.
//!
//! Only a database that redb may write to can be brought to its last whole commit where the program that wrote it was
//! killed, and have its checksums checked. Both are wanted where it must stay as it is: a source that a table is
//! hydrated from, or a store of which it is not known yet whether it is ours, or whole. So what redb writes is kept here,
//! block by block, and lies over the file when it is read again.

use redb::StorageBackend;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

const BLOCK_BYTES: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Untouched {
    file: Arc<dyn StorageBackend>,
    over: Mutex<Over>,
}

/// What lies over the file.
#[derive(Debug)]
struct Over {
    /// The length that redb believes the file has.
    bytes: u64,
    /// Only this much of the file shows through: where it was cut and grew again, there are zeroes.
    file_bytes: u64,
    /// Whole blocks, by their number.
    written: BTreeMap<u64, Box<[u8]>>,
}

impl Untouched {
    pub(crate) fn new(file: Arc<dyn StorageBackend>) -> Result<Self, Error> {
        let bytes = file.len()?;
        Ok(Self { file, over: Mutex::new(Over { bytes, file_bytes: bytes, written: BTreeMap::new() }) })
    }

    fn over(&self) -> MutexGuard<'_, Over> {
        self.over.lock().expect("nothing panics while it holds this lock")
    }

    /// The block as it stands in the file, zeroes where that has ended.
    fn block_of_file(&self, over: &Over, block: u64, into: &mut [u8]) -> Result<(), Error> {
        let start = block * BLOCK_BYTES;
        let there = over.file_bytes.saturating_sub(start).min(into.len() as u64) as usize;
        if there > 0 {
            self.file.read(start, &mut into[..there])?;
        }
        into[there..].fill(0);
        Ok(())
    }
}

/// The pieces of `offset..offset + bytes` by block: block, range in it, range in the whole.
fn pieces(
    offset: u64,
    bytes: usize,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let end = offset + bytes as u64;
    (offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)).map(move |block| {
        let start = block * BLOCK_BYTES;
        let from = start.max(offset);
        let to = (start + BLOCK_BYTES).min(end);
        let in_block = (from - start) as usize..(to - start) as usize;
        (block, in_block, (from - offset) as usize..(to - offset) as usize)
    })
}

impl StorageBackend for Untouched {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.over().bytes)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let over = self.over();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > over.bytes) {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the file is shorter than it says itself"));
        }
        // Nothing lies over most of a file: then it is one read.
        let end = offset + out.len() as u64;
        let blocks = offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES);
        if end <= over.file_bytes && over.written.range(blocks).next().is_none() {
            return self.file.read(offset, out);
        }
        let mut block_bytes = [0; BLOCK_BYTES as usize];
        for (block, in_block, in_out) in pieces(offset, out.len()) {
            match over.written.get(&block) {
                Some(written) => out[in_out].copy_from_slice(&written[in_block]),
                None => {
                    self.block_of_file(&over, block, &mut block_bytes)?;
                    out[in_out].copy_from_slice(&block_bytes[in_block]);
                }
            }
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> Result<(), Error> {
        let mut over = self.over();
        over.file_bytes = over.file_bytes.min(bytes);
        over.written.retain(|block, _| block * BLOCK_BYTES < bytes);
        if let Some(last) = over.written.get_mut(&(bytes / BLOCK_BYTES)) {
            last[(bytes % BLOCK_BYTES) as usize..].fill(0);
        }
        over.bytes = bytes;
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut over = self.over();
        for (block, in_block, in_data) in pieces(offset, data.len()) {
            if !over.written.contains_key(&block) {
                let mut fresh = vec![0; BLOCK_BYTES as usize].into_boxed_slice();
                self.block_of_file(&over, block, &mut fresh)?;
                over.written.insert(block, fresh);
            }
            let written = over.written.get_mut(&block).expect("it was put there if it was not there");
            written[in_block].copy_from_slice(&data[in_data]);
        }
        Ok(())
    }
}
