//! Entries in files and streams: one implementation of each format, for hydration, `heirloom load`, `dump` and `scan`.
//!
//! | format | file name | an entry is |
//! | --- | --- | --- |
//! | [`csv`] | `.csv` | a line; a header names the columns, two of which are key and value |
//! | [`json_lines`] | `.jsonl`, `.ndjson` | an object with a key and a value on a line of its own |
//! | [`dump`] | `.dump` | bytes, in blocks with checksums; also the kind of the table, its version and its bequest |
//!
//! All of them keep the deadlines of entries that expire, and the schema and its version that each value was written
//! with: the text forms in the fields `deadline_ms` and `value_schema`, where there are any. A bequest is in dumps only.
//!
//! Readers are functions over [`Read`]: they hand on one item after the other, never hold more than one line or block,
//! and believe no length before the bytes are there. What breaks off or breaks the format is an error that names the
//! source and the place. What a format writes, it reads back, byte by byte, in the same order.

pub mod csv;
pub mod dump;
mod error;
pub mod json_lines;
pub(crate) mod row;
mod schema;
#[cfg(test)]
mod tests;

pub use error::FormatError;

use heirloom_protocol::table::{Attributes, Kind, TableSchema};
use std::io::{self, Read, Write};
use std::path::Path;

/// What a file or stream is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Format {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
    #[value(name = "jsonl")]
    JsonLines,
    /// The binary form, with checksums.
    Dump,
}

impl Format {
    /// What a file's name says.
    #[must_use]
    pub fn by_extension(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "dump" => Some(Self::Dump),
            _ => None,
        }
    }
}

/// What a reader hands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'i> {
    /// What was dumped, before anything of it; the text formats do not say.
    Head(Head),
    /// What the values are, before the first of them, where their table says it.
    Schema(&'i TableSchema),
    /// One entry.
    Entry(Entry<'i>),
    /// What the last owner left for its heir; only dumps carry it.
    Bequest(&'i [u8]),
}

/// Which table, and when, a dump is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How that table keeps its entries.
    pub kind: Kind,
    /// Its last commit before it was dumped.
    pub version: u64,
}

impl Head {
    /// Whether a table of `kind` takes all that was dumped: where keys have several values, it keeps no fewer of them.
    #[must_use]
    pub fn fits(&self, kind: Kind) -> bool {
        let values = |kind| match kind {
            Kind::DuplicateBag => 2,
            Kind::Bag => 1,
            _ => 0,
        };
        values(kind) >= values(self.kind)
    }
}

/// One entry on its way from or to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'e> {
    /// The bytes of the key.
    pub key: &'e [u8],
    /// The bytes of the value.
    pub value: &'e [u8],
    /// What it has beside these: when it expires, and the version of its schema.
    pub attributes: Attributes,
    /// The line it stands on, from 1, where the format has lines.
    pub line: Option<u64>,
}

/// Takes one item after the other; its error ends the reading.
pub type Each<'e, E> = &'e mut dyn FnMut(Item<'_>) -> Result<(), E>;

/// Hands on everything that is in `bytes`, which messages call `name`. Of CSV, the first column is the key and the
/// second the value; of JSON lines, the fields `key` and `value`.
///
/// # Errors
/// [`FormatError`], and whatever `each` fails with.
pub fn read<E: From<FormatError>>(
    bytes: impl Read,
    format: Format,
    name: &str,
    each: Each<'_, E>,
) -> Result<(), E> {
    match format {
        Format::Csv => csv::read(bytes, None, None, name, each),
        Format::JsonLines => json_lines::read(bytes, "key", "value", name, each),
        Format::Dump => dump::read(bytes, name, each),
    }
}

/// Writes entries in one of the formats.
#[derive(Debug)]
pub enum Writer<W: Write> {
    /// Comma-separated values.
    Csv(Box<csv::Writer<W>>),
    /// JSON lines.
    JsonLines(json_lines::Writer<W>),
    /// The binary form.
    Dump(dump::Writer<W>),
}

impl<W: Write> Writer<W> {
    /// Begins; the text formats say nothing of `head`. `schema` says what the values are, where that is known. `deadlines`
    /// is for CSV: whether any entry has one.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn begin(
        out: W,
        format: Format,
        head: Head,
        schema: Option<TableSchema>,
        deadlines: bool,
    ) -> io::Result<Self> {
        Ok(match format {
            Format::Csv => Self::Csv(Box::new(csv::Writer::begin(out, schema, deadlines)?)),
            Format::JsonLines => Self::JsonLines(json_lines::Writer::begin(out, schema)),
            Format::Dump => Self::Dump(dump::Writer::begin(out, head, schema.as_ref())?),
        })
    }

    /// One more entry.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn entry(&mut self, entry: Entry<'_>) -> io::Result<()> {
        match self {
            Self::Csv(out) => out.entry(entry),
            Self::JsonLines(out) => out.entry(entry),
            Self::Dump(out) => out.entry(entry),
        }
    }

    /// The bequest; the text formats leave it out.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn bequest(&mut self, bequest: &[u8]) -> io::Result<()> {
        match self {
            Self::Csv(_) | Self::JsonLines(_) => Ok(()),
            Self::Dump(out) => out.bequest(bequest),
        }
    }

    /// Writes what is still to be written. Without it, a dump has no end and is refused.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn finish(self) -> io::Result<W> {
        let mut out = match self {
            Self::Csv(out) => out.finish()?,
            Self::JsonLines(out) => out.finish(),
            Self::Dump(out) => out.finish()?,
        };
        out.flush()?;
        Ok(out)
    }
}
