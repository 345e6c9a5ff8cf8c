//! Comma-separated values: a header line, then an entry a line.

use super::{Each, HydrateError};
use csv::ByteRecord;
use std::io::Read;

/// Hands on every entry. `key` and `value` name columns; without a name it is the first and the second.
pub(super) fn read(
    text: impl Read,
    key: Option<&str>,
    value: Option<&str>,
    name: &str,
    each: Each<'_>,
) -> Result<(), HydrateError> {
    // Each line must have as many fields as the header: a line cut short is an error, not an entry.
    let mut reader = csv::ReaderBuilder::new().has_headers(true).flexible(false).from_reader(text);
    let header = reader.byte_headers().map_err(|error| explain(&error, name))?.clone();
    let key = column(&header, key, 0, name)?;
    let value = column(&header, value, 1, name)?;
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|error| explain(&error, name))? {
        let line = record.position().map(csv::Position::line);
        each(&record[key], &record[value], line)?;
    }
    Ok(())
}

/// The index of the column of that name, or the one at `default`.
fn column(
    header: &ByteRecord,
    wanted: Option<&str>,
    default: usize,
    name: &str,
) -> Result<usize, HydrateError> {
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
        HydrateError::BadEntry { source_name: name.to_owned(), line: 1, wrong }
    })
}

fn explain(error: &csv::Error, name: &str) -> HydrateError {
    let source_name = name.to_owned();
    match error.kind() {
        csv::ErrorKind::Io(error) => HydrateError::Unreadable {
            source_name,
            error: std::io::Error::new(error.kind(), error.to_string()),
        },
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => HydrateError::BadEntry {
            source_name,
            line: error.position().map_or(0, csv::Position::line),
            wrong: format!("{len} fields, and {expected_len} in the header"),
        },
        _ => HydrateError::BadFile { source_name, wrong: error.to_string() },
    }
}
