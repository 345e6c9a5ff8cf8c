//! A disk that crashes, for tests: what was not synced is lost, torn, or there all the same.
//!
//! It notes all that is done to it. [`Disk::crashed`] gives what it may hold where the host had crashed before any one of
//! these: everything up to the last sync, and of what came later each sector or not, whatever the order in which it was
//! written.

use rand::RngExt;
use rand::rngs::SmallRng;
use redb::StorageBackend;
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

/// What a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

/// One disk, with one file on it; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// What it held when the notes begin, and since then.
    begins_with: Vec<u8>,
    notes: Vec<Note>,
    /// So many more writes work.
    writes_left: Option<u64>,
}

#[derive(Debug)]
enum Note {
    Write { offset: u64, data: Vec<u8> },
    Length(u64),
    Sync,
}

impl Disk {
    /// A disk that holds this.
    pub(crate) fn with(bytes: Vec<u8>) -> Self {
        let state = State { begins_with: bytes.clone(), bytes, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }

    pub(crate) fn backend(&self) -> Arc<dyn StorageBackend> {
        Arc::new(self.clone())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state().bytes.clone()
    }

    /// How much has been done to it.
    pub(crate) fn notes(&self) -> usize {
        self.state().notes.len()
    }

    /// From now on it is full after so many more writes; `None`: there is room again.
    pub(crate) fn full_after(&self, writes: Option<u64>) {
        self.state().writes_left = writes;
    }

    /// What it may hold where it crashed before the note of that number.
    pub(crate) fn crashed(&self, before: usize, random: &mut SmallRng) -> Vec<u8> {
        let state = self.state();
        let synced = state.notes[..before].iter().rposition(|note| matches!(note, Note::Sync));
        let synced = synced.map_or(0, |sync| sync + 1);
        let mut bytes = state.begins_with.clone();
        state.notes[..synced].iter().for_each(|note| note.apply(&mut bytes));
        // All of it, nothing, or some: what is lost at each crash differs.
        let kept = [0.0, 0.1, 0.5, 0.9, 1.0][random.random_range(0..5)];
        let mut unsynced: Vec<Note> = state.notes[synced..before].iter().flat_map(Note::sectors).collect();
        unsynced.retain(|_| random.random_bool(kept));
        unsynced.iter().for_each(|note| note.apply(&mut bytes));
        bytes
    }
}

impl Note {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Sync => {}
            Self::Length(length) => bytes.resize(*length as usize, 0),
            Self::Write { offset, data } => {
                let start = *offset as usize;
                if bytes.len() < start + data.len() {
                    bytes.resize(start + data.len(), 0);
                }
                bytes[start..start + data.len()].copy_from_slice(data);
            }
        }
    }

    /// The parts of it that are there or not, each by itself.
    fn sectors(&self) -> Vec<Self> {
        match self {
            Self::Sync => Vec::new(),
            Self::Length(length) => vec![Self::Length(*length)],
            Self::Write { offset, data } => {
                let sectors = data.chunks(SECTOR_BYTES).enumerate();
                let offset = |number: usize| offset + (number * SECTOR_BYTES) as u64;
                sectors
                    .map(|(number, data)| Self::Write { offset: offset(number), data: data.to_vec() })
                    .collect()
            }
        }
    }
}

impl State {
    fn write(&mut self, note: Note) -> Result<(), Error> {
        match &mut self.writes_left {
            Some(0) => return Err(Error::new(ErrorKind::StorageFull, "no space left on this disk")),
            Some(left) => *left -= 1,
            None => {}
        }
        note.apply(&mut self.bytes);
        self.notes.push(note);
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.state().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let state = self.state();
        let there = state.bytes.get(offset as usize..).and_then(|bytes| bytes.get(..out.len()));
        out.copy_from_slice(there.ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> Result<(), Error> {
        self.state().write(Note::Length(bytes))
    }

    fn sync_data(&self) -> Result<(), Error> {
        self.state().notes.push(Note::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.state().write(Note::Write { offset, data: data.to_vec() })
    }
}
