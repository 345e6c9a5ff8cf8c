//! Fills a table from its source, before anyone sees it.
//!
//! | source | an entry is |
//! | --- | --- |
//! | a redb file (`redb_file`) | an entry of one of the file's tables of byte strings |
//! | CSV, JSON lines, a dump ([`crate::formats`]) | what the format says; a dump has the bequest as well |
//!
//! The last three come from a file or from what a command prints. A source is taken whole or not at all: one that is
//! missing, corrupt, foreign or breaks off is an error that names it, down to the place, and the table is not used.
//! Where a key occurs twice the later entry counts.
//!
//! Each entry is a commit of its own: that costs less than collecting them into transactions, and nobody can see the
//! table before its last one.

mod command;
mod error;
mod load;
mod redb_file;
#[cfg(test)]
mod tests;

pub use error::HydrateError;

use crate::config::{Hydrate, HydrateFormat, HydrateSource};
use crate::formats::{FormatError, csv, dump, json_lines};
use heirloom_protocol::region::Region;
use std::fs::File;
use std::io::Read;
use std::path::Path;

type Each<'e> = crate::formats::Each<'e, HydrateError>;

/// Fills the empty table in `region` from its source; gives the number of entries that were read. Blocks until it is
/// done, and tells of its progress in the log, once a second.
///
/// # Errors
/// [`HydrateError`]: the table's content is of no use then.
pub fn hydrate<R: Region + Clone>(id: &str, source: &Hydrate, region: R) -> Result<u64, HydrateError> {
    let name = describe(&source.source);
    let mut loader = load::Loader::open(id, &name, region)?;
    read(&source.source, &name, &mut |item| loader.load(item))?;
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
            read_stream(file, format, name, each)
        }
        HydrateSource::Command { command, format } => {
            command::read(command, name, |output| read_stream(output, format, name, each))
        }
    }
}

fn read_stream(
    bytes: impl Read,
    format: &HydrateFormat,
    name: &str,
    each: Each<'_>,
) -> Result<(), HydrateError> {
    match format {
        HydrateFormat::Csv { key, value } => csv::read(bytes, key.as_deref(), value.as_deref(), name, each),
        HydrateFormat::JsonLines { key, value } => json_lines::read(bytes, key, value, name, each),
        HydrateFormat::Dump => dump::read(bytes, name, each),
        HydrateFormat::Redb { .. } => Err(HydrateError::NotAStream { source_name: name.to_owned() }),
    }
}

fn open(path: &Path, name: &str) -> Result<File, FormatError> {
    File::open(path).map_err(|error| FormatError::Unreadable { source_name: name.to_owned(), error })
}

/// The source as messages name it.
fn describe(source: &HydrateSource) -> String {
    match source {
        HydrateSource::File { path, .. } => path.display().to_string(),
        HydrateSource::Command { command, .. } => format!("output of `{}`", command.join(" ")),
    }
}
