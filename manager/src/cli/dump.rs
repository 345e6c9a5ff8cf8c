//! `heirloom dump TABLE FILE`: a whole table into a file.

use super::connect::{self, Bytes};
use super::output::{Usage, complain};
use super::progress::Progress;
use super::{Outcome, print};
use crate::formats::{Entry, Format, Head, Writer};
use heirloom_worker::{ReadError, Snapshot};
use serde_json::json;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write, stdout};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Write all entries of a table to a file
///
/// The binary form (.dump) carries everything, bequest included, with checksums: what is damaged or cut off is refused
/// when it is loaded. The text forms (.csv, .jsonl) carry all but the bequest: keys and values, `deadline_ms` where entries
/// expire, and `value_schema` where the values have a schema, with the version of each. A file is complete or not there:
/// it gets its name, with rights for its owner only, when all of it is on disk.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The table's id
    table: String,

    /// Where to; `-` for standard output
    file: PathBuf,

    /// What to write; by default what the file's name says (.csv, .jsonl, .dump), and jsonl to standard output
    #[arg(long)]
    format: Option<Format>,

    /// Print what was dumped as one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  heirloom dump sales sales.dump
  heirloom dump sales - --format csv | head";

pub(super) fn run(args: &Args, socket: Option<PathBuf>) -> Outcome {
    let to_stdout = args.file.as_os_str() == "-";
    if to_stdout && args.json {
        return Err(Usage("--json and FILE `-` both want standard output".to_owned()).into());
    }
    let format = format_of(args.format, &args.file)?;
    let reader = connect::reader(socket, &args.table)?;
    let dumped = if to_stdout {
        dump(&reader, stdout().lock(), format)?.0
    } else {
        write_file(&args.file, |out| Ok(dump(&reader, out, format)?.0))?
    };
    let Dumped { entries, version } = dumped;
    if args.json {
        let object = json!({ "table": args.table, "entries": entries, "version": version });
        print(&object.to_string())?;
    } else if !to_stdout {
        complain(&format!("{}: {entries} entries, version {version}", args.file.display()));
    }
    Ok(())
}

/// The format that was asked for, or that the file's name says.
pub(super) fn format_of(asked: Option<Format>, file: &Path) -> Result<Format, Usage> {
    let is_stream = file.as_os_str() == "-";
    let known = asked.or_else(|| Format::by_extension(file)).or(is_stream.then_some(Format::JsonLines));
    known.ok_or_else(|| {
        Usage(format!(
            "the format of {} cannot be told from its name: name it .csv, .jsonl or .dump, or add --format",
            file.display()
        ))
    })
}

/// What was written.
pub(super) struct Dumped {
    pub(super) entries: u64,
    version: u64,
}

/// Writes a whole table as of one version; the stream is given back with everything written to it.
pub(super) fn dump<W: Write>(reader: &Bytes, out: W, format: Format) -> Result<(Dumped, W), Box<dyn Error>> {
    let snapshot = reader.snapshot()?;
    let progress = Progress::entries("dumping", snapshot.len()?);
    // The header of CSV says it before the first entry is seen.
    let deadlines = format == Format::Csv && has_deadlines(&snapshot)?;
    let head = Head { kind: reader.info().kind, version: snapshot.version() };
    let mut writer = Writer::begin(BufWriter::new(out), format, head, snapshot.schema()?, deadlines)?;
    let (mut entries, mut written) = (0, Ok(()));
    snapshot.visit(&mut |key, value, attributes| {
        entries += 1;
        progress.at(entries);
        written = writer.entry(Entry { key, value, attributes, line: None });
        written.is_ok()
    })?;
    written?;
    if let Some(bequest) = snapshot.bequest_bytes()? {
        writer.bequest(&bequest)?;
    }
    let out = writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok((Dumped { entries, version: snapshot.version() }, out))
}

/// Whether any entry expires.
fn has_deadlines(snapshot: &Snapshot<[u8], [u8]>) -> Result<bool, ReadError> {
    let mut found = false;
    snapshot.visit(&mut |_, _, attributes| {
        found = attributes.deadline_ms.is_some();
        !found
    })?;
    Ok(found)
}

/// Writes a file that is complete, or not there: what was there before stays until then.
pub(super) fn write_file<T>(
    file: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    to_file(file, write).map_err(|error| named(file, error))
}

fn to_file<T>(
    file: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let old = fs::metadata(file);
    // A pipe or a device is written to; only files can be replaced.
    if old.is_ok_and(|old| !old.is_file()) {
        return write(&mut File::create(file)?);
    }
    // Where it is a link, what it points to is replaced.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut new = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    let written = write(&mut new)?;
    new.as_file().sync_all()?;
    new.persist(&file).map_err(|error| error.error)?;
    Ok(written)
}

/// The file before what the system says about it.
fn named(file: &Path, error: Box<dyn Error>) -> Box<dyn Error> {
    match error.downcast::<io::Error>() {
        Ok(error) => format!("{}: cannot be written: {error}", file.display()).into(),
        Err(error) => error,
    }
}
