//! The binary form: everything of a table, and proof that it is all there.
//!
//! ```text
//!  file     "HEIRLOOM"  HEAD  [ FORM ]  ROWS ..  [ HEIR ]  DONE
//!  frame    name: 4 │ length: u32 │ checksum: u64 │ payload: length bytes
//!
//!  HEAD     format version: u16 │ kind of table: u8 │ version of the table: u64
//!  FORM     schema of the values: base version: u32 │ name, in UTF-8
//!  ROWS     entries, one after the other (`formats/row.rs`)
//!  HEIR     the bequest
//!  DONE     number of entries: u64
//! ```
//!
//! Numbers are little-endian. A checksum is the XXH3 of its frame's name, length and payload, seeded with the checksum
//! of the frame before: so each frame vouches for all that came before it, and what is damaged, missing, doubled, out of
//! order or cut off is noticed, and where. How many entries there will be need not be known when writing begins.

use super::row::{self, ROW_BYTES};
use super::{Each, Entry, FormatError, Head, Item};
use heirloom_protocol::table::{MAX_KEY_BYTES, MAX_VALUE_BYTES, TableSchema};
use std::io::{self, Read, Write};
use xxhash_rust::xxh3::Xxh3;

const MAGIC: [u8; 8] = *b"HEIRLOOM";
const FORMAT_VERSION: u16 = 1;

const HEAD: [u8; 4] = *b"HEAD";
const FORM: [u8; 4] = *b"FORM";
const ROWS: [u8; 4] = *b"ROWS";
const HEIR: [u8; 4] = *b"HEIR";
const DONE: [u8; 4] = *b"DONE";

const FRAME_BYTES: usize = 16;
const HEAD_BYTES: usize = 11;
/// Entries are collected up to this; a larger one has a frame of its own.
const BLOCK_BYTES: usize = 256 * 1024;

/// No frame is longer.
const MAX_PAYLOAD_BYTES: usize = ROW_BYTES + MAX_KEY_BYTES + MAX_VALUE_BYTES;

const _: () = assert!(BLOCK_BYTES <= MAX_PAYLOAD_BYTES);

/// Hands on everything, in the order of the file. An entry is handed on when its block has been checked; whether the
/// file is whole is known at the end only.
///
/// # Errors
/// [`FormatError`], and whatever `each` fails with.
pub fn read<E: From<FormatError>>(bytes: impl Read, name: &str, each: Each<'_, E>) -> Result<(), E> {
    let mut frames = Frames::begin(bytes, name)?;
    let mut entries = 0_u64;
    let (frame, start) = frames.next()?;
    if frame != HEAD {
        return Err(frames.damaged(start, "no HEAD where one must be").into());
    }
    each(Item::Head(frames.head(start)?))?;
    let mut last = HEAD;
    loop {
        let (frame, start) = frames.next()?;
        match (last, frame) {
            (HEAD, FORM) => each(Item::Schema(&frames.schema(start)?))?,
            (HEAD | FORM | ROWS, ROWS) => {
                let mut rest = frames.payload.as_slice();
                while !rest.is_empty() {
                    let row = row::take(&mut rest);
                    entries += 1;
                    each(Item::Entry(row.ok_or_else(|| frames.damaged(start, "an entry is none"))?))?;
                }
            }
            (HEAD | FORM | ROWS, HEIR) => each(Item::Bequest(&frames.payload))?,
            (_, DONE) => return Ok(frames.end(start, entries)?),
            _ => return Err(frames.damaged(start, "a part that has no place there").into()),
        }
        last = frame;
    }
}

/// The frames of a file, one after the other, each checked.
struct Frames<'n, R> {
    bytes: R,
    name: &'n str,
    /// Bytes read so far.
    offset: u64,
    /// The checksum of the last frame.
    chain: u64,
    payload: Vec<u8>,
}

impl<'n, R: Read> Frames<'n, R> {
    fn begin(bytes: R, name: &'n str) -> Result<Self, FormatError> {
        let mut frames = Self { bytes, name, offset: 0, chain: 0, payload: Vec::new() };
        let mut magic = [0; MAGIC.len()];
        let whole = frames.fill(&mut magic)?;
        if !MAGIC.starts_with(&magic[..whole]) || whole == 0 {
            let wrong = "this is no dump of Heirloom: it does not begin with `HEIRLOOM`".to_owned();
            return Err(FormatError::BadFile { source_name: name.to_owned(), wrong });
        }
        if whole < magic.len() { Err(frames.cut_off()) } else { Ok(frames) }
    }

    /// Reads the next frame into `payload`; its name, and where it starts.
    fn next(&mut self) -> Result<([u8; 4], u64), FormatError> {
        let start = self.offset;
        let mut header = [0; FRAME_BYTES];
        if self.fill(&mut header)? < header.len() {
            return Err(self.cut_off());
        }
        let (name, rest) = header.split_first_chunk::<4>().expect("a frame's header has 16 bytes");
        let (length, checksum) = rest.split_first_chunk::<4>().expect("a frame's header has 16 bytes");
        let length = u32::from_le_bytes(*length) as usize;
        let checksum = u64::from_le_bytes(*checksum.first_chunk().expect("a frame's header has 16 bytes"));
        if length > MAX_PAYLOAD_BYTES {
            return Err(self.damaged(start, &format!("a part of {length} bytes, which none can have")));
        }
        // The buffer grows with what is there, not with what the length says.
        self.payload.clear();
        let read = (&mut self.bytes).take(length as u64).read_to_end(&mut self.payload);
        self.offset += self.payload.len() as u64;
        read.map_err(|error| self.unreadable(error))?;
        if self.payload.len() < length {
            return Err(self.cut_off());
        }
        if checksum != chained(self.chain, *name, &self.payload) {
            return Err(self.damaged(start, "its checksum does not fit what follows"));
        }
        self.chain = checksum;
        Ok((*name, start))
    }

    fn head(&self, start: u64) -> Result<Head, FormatError> {
        let Ok::<[u8; HEAD_BYTES], _>([v0, v1, kind, version @ ..]) = self.payload.as_slice().try_into()
        else {
            return Err(self.damaged(start, "a HEAD of another length"));
        };
        let format = u16::from_le_bytes([v0, v1]);
        if format != FORMAT_VERSION {
            let wrong =
                format!("a dump in version {format} of the format; this program reads {FORMAT_VERSION}");
            return Err(FormatError::BadFile { source_name: self.name.to_owned(), wrong });
        }
        let kind = row::kind_of(kind).ok_or_else(|| self.damaged(start, "no kind of table that there is"))?;
        Ok(Head { kind, version: u64::from_le_bytes(version) })
    }

    fn schema(&self, start: u64) -> Result<TableSchema, FormatError> {
        let parts = self.payload.split_first_chunk();
        let schema = parts.and_then(|(version, name)| {
            let name = std::str::from_utf8(name).ok()?.to_owned();
            Some(TableSchema { name, base_version: u32::from_le_bytes(*version) })
        });
        schema.ok_or_else(|| self.damaged(start, "a schema without a name"))
    }

    /// Nothing may follow the last frame, and the count must fit.
    fn end(&mut self, start: u64, entries: u64) -> Result<(), FormatError> {
        if self.payload != entries.to_le_bytes() {
            return Err(self.damaged(start, &format!("{entries} entries are there, and another number was")));
        }
        let end = self.offset;
        match self.fill(&mut [0])? {
            0 => Ok(()),
            _ => Err(self.damaged(end, "something follows its end")),
        }
    }

    /// Reads as much as there is; how much that was.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, FormatError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.bytes.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.unreadable(error)),
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }

    fn unreadable(&self, error: io::Error) -> FormatError {
        FormatError::Unreadable { source_name: self.name.to_owned(), error }
    }

    fn damaged(&self, offset: u64, wrong: &str) -> FormatError {
        FormatError::Damaged { source_name: self.name.to_owned(), offset, wrong: wrong.to_owned() }
    }

    fn cut_off(&self) -> FormatError {
        self.damaged(self.offset, "it ends there, before its end mark: it was cut off")
    }
}

fn chained(chain: u64, name: [u8; 4], payload: &[u8]) -> u64 {
    let mut hash = Xxh3::with_seed(chain);
    hash.update(&name);
    hash.update(&(payload.len() as u32).to_le_bytes());
    hash.update(payload);
    hash.digest()
}

/// Writes a dump: entries, the bequest where there is one, the end.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    block: Vec<u8>,
    chain: u64,
    entries: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the head, and what the values are, where that is known.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn begin(mut out: W, head: Head, schema: Option<&TableSchema>) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        let mut writer = Self { out, block: Vec::with_capacity(BLOCK_BYTES), chain: 0, entries: 0 };
        let mut payload = FORMAT_VERSION.to_le_bytes().to_vec();
        payload.push(row::code_of(head.kind));
        payload.extend_from_slice(&head.version.to_le_bytes());
        writer.frame(HEAD, &payload)?;
        if let Some(schema) = schema {
            writer.frame(FORM, &[&schema.base_version.to_le_bytes(), schema.name.as_bytes()].concat())?;
        }
        Ok(writer)
    }

    /// One more entry.
    ///
    /// # Errors
    /// Those of the stream; [`io::ErrorKind::InvalidInput`] for what no table can have.
    pub fn entry(&mut self, entry: Entry<'_>) -> io::Result<()> {
        let Entry { key, value, attributes, .. } = entry;
        if key.len() > MAX_KEY_BYTES || value.len() > MAX_VALUE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an entry larger than any table takes"));
        }
        if self.block.len() + ROW_BYTES + key.len() + value.len() > BLOCK_BYTES {
            self.end_block()?;
        }
        row::put(&mut self.block, key, value, attributes);
        self.entries += 1;
        Ok(())
    }

    /// The bequest; after the last entry.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn bequest(&mut self, bequest: &[u8]) -> io::Result<()> {
        self.end_block()?;
        self.frame(HEIR, bequest)
    }

    /// Writes the end. A dump without it is refused.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_block()?;
        self.frame(DONE, &self.entries.to_le_bytes())?;
        Ok(self.out)
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let mut block = std::mem::take(&mut self.block);
        let written = self.frame(ROWS, &block);
        block.clear();
        self.block = block;
        written
    }

    fn frame(&mut self, name: [u8; 4], payload: &[u8]) -> io::Result<()> {
        self.chain = chained(self.chain, name, payload);
        self.out.write_all(&name)?;
        self.out.write_all(&(payload.len() as u32).to_le_bytes())?;
        self.out.write_all(&self.chain.to_le_bytes())?;
        self.out.write_all(payload)
    }
}
