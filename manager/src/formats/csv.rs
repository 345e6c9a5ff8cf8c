//! Comma-separated values: a header line, then an entry a line.
//!
//! A column `deadline_ms`, where there is one, says when entries expire; it is blank for those that do not. A column
//! `value_schema` says what the values are, as in `price@3`.
//!
//! Fields are bytes: what is no text stands there as it is, in quotes where it needs them. Whoever opens such a file
//! with a program for text wants JSON lines instead.

use super::{Each, Entry, FormatError, Item, schema};
use csv::ByteRecord;
use heirloom_protocol::table::{Attributes, TableSchema};
use std::cell::Cell;
use std::io::{self, Read, Write};

/// Longest record that is read: a key and a value of the greatest sizes, all of it quotes that are doubled, and some
/// room for further columns.
const MAX_RECORD_BYTES: u64 = 48 * 1024 * 1024;

/// The column that says when an entry expires.
const DEADLINE: &str = "deadline_ms";

/// Hands on every entry. `key` and `value` name columns; without a name it is the first and the second.
///
/// # Errors
/// [`FormatError`], and whatever `each` fails with.
pub fn read<E: From<FormatError>>(
    text: impl Read,
    key: Option<&str>,
    value: Option<&str>,
    name: &str,
    each: Each<'_, E>,
) -> Result<(), E> {
    let left = Cell::new(MAX_RECORD_BYTES);
    let text = Bounded { text, left: &left };
    // Each line must have as many fields as the header: a line cut short is an error, not an entry.
    let mut reader = csv::ReaderBuilder::new().has_headers(true).flexible(false).from_reader(text);
    let header = reader.byte_headers().map_err(|error| explain(&error, 1, name))?.clone();
    let bad = |line, wrong| FormatError::BadEntry { source_name: name.to_owned(), line, wrong };
    let key = column(&header, key, 0, name)?;
    let value = column(&header, value, 1, name)?;
    let named = |name: &str| header.iter().position(|column| column == name.as_bytes());
    let (deadline, schema) = (named(DEADLINE), named(schema::FIELD));
    let mut schemas = schema::Fields::default();
    let mut record = ByteRecord::new();
    loop {
        left.set(MAX_RECORD_BYTES);
        let line = reader.position().line();
        if !reader.read_byte_record(&mut record).map_err(|error| explain(&error, line, name))? {
            return Ok(());
        }
        let line = record.position().map_or(line, csv::Position::line);
        let deadline_ms = deadline.map_or(Ok(None), |column| parse_deadline(&record[column]));
        let deadline_ms = deadline_ms.map_err(|wrong| bad(line, wrong))?;
        let schema =
            schema.map(|column| String::from_utf8_lossy(&record[column])).filter(|field| !field.is_empty());
        let (schema_version, schema) = schemas.next(schema.as_deref()).map_err(|wrong| bad(line, wrong))?;
        if let Some(schema) = schema {
            each(Item::Schema(schema))?;
        }
        let attributes = Attributes { deadline_ms, schema_version };
        each(Item::Entry(Entry { key: &record[key], value: &record[value], attributes, line: Some(line) }))?;
    }
}

/// Ends in an error where one record goes on for ever: an open quote, say.
struct Bounded<'l, R> {
    text: R,
    /// Bytes that the record in hand may still have.
    left: &'l Cell<u64>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.text.read(buffer)?;
        let Some(left) = self.left.get().checked_sub(bytes as u64) else {
            let message = format!("a record of more than {MAX_RECORD_BYTES} bytes: is a quote open?");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        };
        self.left.set(left);
        Ok(bytes)
    }
}

fn parse_deadline(field: &[u8]) -> Result<Option<u64>, String> {
    let text = String::from_utf8_lossy(field);
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|error| format!("`{DEADLINE}` is no number of milliseconds: {text}: {error}"))
}

/// The index of the column of that name, or the one at `default`.
fn column(
    header: &ByteRecord,
    wanted: Option<&str>,
    default: usize,
    name: &str,
) -> Result<usize, FormatError> {
    let index = match wanted {
        Some(wanted) => header.iter().position(|column| column == wanted.as_bytes()),
        None => (default < header.len()).then_some(default),
    };
    index.ok_or_else(|| {
        let there: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
        let wrong = match wanted {
            Some(wanted) => format!("no column `{wanted}`; there are: {}", there.join(", ")),
            None => "the header line must name at least two columns, key and value".to_owned(),
        };
        FormatError::BadEntry { source_name: name.to_owned(), line: 1, wrong }
    })
}

fn explain(error: &csv::Error, line: u64, name: &str) -> FormatError {
    let source_name = name.to_owned();
    match error.kind() {
        csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            FormatError::BadEntry { source_name, line, wrong: error.to_string() }
        }
        csv::ErrorKind::Io(error) => {
            FormatError::Unreadable { source_name, error: io::Error::new(error.kind(), error.to_string()) }
        }
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => FormatError::BadEntry {
            source_name,
            line: error.position().map_or(0, csv::Position::line),
            wrong: format!("{len} fields, and {expected_len} in the header"),
        },
        _ => FormatError::BadFile { source_name, wrong: error.to_string() },
    }
}

/// Writes entries as lines with the columns `key` and `value`, and where they are wanted `deadline_ms` and `value_schema`.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: csv::Writer<W>,
    deadlines: bool,
    schema: Option<TableSchema>,
}

impl<W: Write> Writer<W> {
    /// Writes the header. `schema` is what the values are, where that is known; `deadlines`, whether any entry has one.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn begin(out: W, schema: Option<TableSchema>, deadlines: bool) -> io::Result<Self> {
        let mut writer = Self { out: csv::Writer::from_writer(out), deadlines, schema };
        let schema = writer.schema.is_some().then_some(schema::FIELD);
        writer.write([b"key", b"value"], DEADLINE, schema)?;
        Ok(writer)
    }

    /// Writes a line.
    ///
    /// # Errors
    /// Those of the stream; [`io::ErrorKind::InvalidInput`] for an entry that expires, where there is no column for it.
    pub fn entry(&mut self, entry: Entry<'_>) -> io::Result<()> {
        let deadline = entry.attributes.deadline_ms.map(|at| at.to_string()).unwrap_or_default();
        if !self.deadlines && !deadline.is_empty() {
            let message = "an entry that expires, and no column for it: dump again";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let schema = self.schema.as_ref().map(|schema| schema::field(schema, entry.attributes));
        self.write([entry.key, entry.value], &deadline, schema.as_deref())
    }

    fn write(&mut self, entry: [&[u8]; 2], deadline: &str, schema: Option<&str>) -> io::Result<()> {
        let deadline = self.deadlines.then_some(deadline.as_bytes());
        let fields = entry.into_iter().chain(deadline).chain(schema.map(str::as_bytes));
        self.out.write_record(fields).map_err(into_io)
    }

    /// Writes what is still to be written.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn finish(self) -> io::Result<W> {
        self.out.into_inner().map_err(|error| io::Error::new(error.error().kind(), error.to_string()))
    }
}

fn into_io(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        kind => io::Error::other(format!("{kind:?}")),
    }
}
