//! Fills a table from its source, before anyone sees it.
//!
//! | format | an entry is |
//! | --- | --- |
//! | redb (`redb_file`) | an entry of one of the file's tables of byte strings |
//! | CSV (`csv_lines`) | a line; a header names the columns, two of which are key and value |
//! | JSON lines (`json_lines`) | an object with a key and a value on a line of its own |
//!
//! The last two come from a file or from what a command prints. A source is taken whole or not at all: one that is
//! missing, corrupt, foreign or breaks off is an error that names it, down to the line, and the table is not used.
//! Where a key occurs twice the later entry counts.
//!
//! Each entry is a commit of its own: that costs less than collecting them into transactions, and nobody can see the
//! table before its last one.

mod command;
mod csv_lines;
mod error;
mod json_lines;
mod load;
mod redb_file;
#[cfg(test)]
mod tests;

pub use error::HydrateError;

use crate::config::{Hydrate, HydrateFormat, HydrateSource};
use heirloom_protocol::region::Region;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Takes one entry: key, value, and where it stands (a line, or nothing).
type Each<'e> = &'e mut dyn FnMut(&[u8], &[u8], Place) -> Result<(), HydrateError>;

/// The line of an entry, from 1, where the source has lines.
type Place = Option<u64>;

/// Fills the empty table in `region` from its source; gives the number of entries that were read. Blocks until it is
/// done, and tells of its progress in the log, once a second.
///
/// # Errors
/// [`HydrateError`]: the table's content is of no use then.
pub fn hydrate<R: Region + Clone>(id: &str, source: &Hydrate, region: R) -> Result<u64, HydrateError> {
    let name = describe(&source.source);
    let mut loader = load::Loader::open(id, &name, region)?;
    read(&source.source, &name, &mut |key, value, place| loader.load(key, value, place))?;
    Ok(loader.finish())
}

/// Hands every entry of a source to `each`, in the source's order.
fn read(source: &HydrateSource, name: &str, each: Each<'_>) -> Result<(), HydrateError> {
    match source {
        HydrateSource::File { path, format: HydrateFormat::Redb { table } } => {
            redb_file::read(path, table, name, each)
        }
        HydrateSource::File { path, format } => {
            let file = open(path, name)?;
            read_text(file, format, name, each)
        }
        HydrateSource::Command { command, format } => {
            command::read(command, name, |output| read_text(output, format, name, each))
        }
    }
}

fn read_text(
    text: impl Read,
    format: &HydrateFormat,
    name: &str,
    each: Each<'_>,
) -> Result<(), HydrateError> {
    match format {
        HydrateFormat::Csv { key, value } => {
            csv_lines::read(text, key.as_deref(), value.as_deref(), name, each)
        }
        HydrateFormat::JsonLines { key, value } => json_lines::read(text, key, value, name, each),
        HydrateFormat::Redb { .. } => Err(HydrateError::NotAStream { source_name: name.to_owned() }),
    }
}

fn open(path: &Path, name: &str) -> Result<File, HydrateError> {
    File::open(path).map_err(|error| HydrateError::Unreadable { source_name: name.to_owned(), error })
}

/// The source as messages name it.
fn describe(source: &HydrateSource) -> String {
    match source {
        HydrateSource::File { path, .. } => path.display().to_string(),
        HydrateSource::Command { command, .. } => format!("output of `{}`", command.join(" ")),
    }
}
