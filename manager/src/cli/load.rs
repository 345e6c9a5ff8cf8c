//! `heirloom load TABLE FILE`: a file into a table.

use super::dump::format_of;
use super::loader::{self, Take};
use super::output::complain;
use super::progress::Progress;
use super::{Outcome, print};
use crate::formats::{self, Entry, Format, FormatError, Head, Item};
use heirloom_protocol::table::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use heirloom_worker::{Attributes, ReadError, TableSchema, Writer};
use serde_json::json;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Insert the entries of a file into a table, overwriting those of the same keys
///
/// The command is a worker while it runs: it owns the table, and is refused where another does. A file is read twice: all
/// of it is checked before the table is touched. From a pipe, what comes before an error is loaded, and how much that was
/// is said. Entries are committed some hundreds at a time; readers see them come.
///
/// Values without a schema are of its version 0, where the table has one: builds that know no such version say so.
///
/// A dump's bequest is left for the next owner where the table has no entries and no bequest, and with --replace. Then the
/// table is empty for readers from its first entry on; there is no way back.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The table's id
    table: String,

    /// What to load: CSV with a header (its first column is the key, its second the value), JSON lines with `key` and
    /// `value`, or a dump; `-` for standard input
    file: PathBuf,

    /// What the file is written in; by default what its name says (.csv, .jsonl, .dump), and jsonl for standard input
    #[arg(long)]
    format: Option<Format>,

    /// Remove all entries of the table first
    #[arg(long)]
    replace: bool,

    #[command(flatten)]
    take: Take,

    /// Print what was loaded as one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  heirloom load cars cars.csv
  heirloom dump sales - --format dump | heirloom load sales_copy - --format dump
  heirloom load sales sales.dump --replace --handoff";

pub(super) fn run(args: &Args, socket: Option<PathBuf>) -> Outcome {
    let format = format_of(args.format, &args.file)?;
    let mut source = Source::open(&args.file)?;
    if source.is_file {
        let checked = source.read(format, "checking", &mut |item| Ok(check(item)?));
        checked.map_err(|error| format!("{error}; nothing was loaded"))?;
        source.rewind()?;
    }
    let mut writer = loader::take(socket, &args.table, args.take)?;
    let mut load = Load::new(&mut writer, args.replace)?;
    let read = source.read(format, "loading", &mut |item| load.take(item));
    // Whatever ended the reading, what came before it is loaded; and where that fails, it failed first.
    let outcome = load.commit().and(read).and_then(|()| load.begin());
    let (entries, cleared) = (load.entries, args.replace && !load.replace);
    if let Err(error) = outcome {
        let table = &args.table;
        return Err(match (entries, cleared) {
            (0, false) => format!("{error}; nothing was loaded into table `{table}`"),
            (0, true) => format!("{error}; table `{table}` has been cleared, and is empty"),
            _ => format!("{error}; the {entries} entries before that are in table `{table}`"),
        }
        .into());
    }
    let version = writer.version();
    drop(writer);
    if args.json {
        let object = json!({ "table": args.table, "entries": entries, "version": version });
        print(&object.to_string())?;
    } else {
        complain(&format!("table `{}`: {entries} entries loaded, version {version}", args.table));
    }
    Ok(())
}

/// Where entries come from.
struct Source {
    name: String,
    file: File,
    /// Whether it can be read twice, and where it begins then.
    is_file: bool,
    start: u64,
    bytes: u64,
}

impl Source {
    fn open(path: &Path) -> Result<Self, FormatError> {
        let is_stdin = path.as_os_str() == "-";
        let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
        let opened = match is_stdin {
            true => io::stdin().as_fd().try_clone_to_owned().map(File::from),
            false => File::open(path),
        };
        let opened = opened.and_then(|mut file| {
            let metadata = file.metadata()?;
            let is_file = metadata.is_file();
            let start = if is_file { file.stream_position()? } else { 0 };
            Ok((file, is_file, start, metadata.len()))
        });
        match opened {
            Ok((file, is_file, start, bytes)) => Ok(Self { name, file, is_file, start, bytes }),
            Err(error) => Err(FormatError::Unreadable { source_name: name, error }),
        }
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.start)).map(drop)
    }

    fn read(
        &self,
        format: Format,
        work: &'static str,
        each: formats::Each<'_, Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        let progress = Progress::bytes(work, self.is_file.then(|| self.bytes.saturating_sub(self.start)));
        let counted = Counted { file: &self.file, bytes: 0, progress: &progress };
        formats::read(BufReader::with_capacity(256 * 1024, counted), format, &self.name, each)
    }
}

/// Tells the progress of what is read.
struct Counted<'p> {
    file: &'p File,
    bytes: u64,
    progress: &'p Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        self.bytes += bytes as u64;
        self.progress.at(self.bytes);
        Ok(bytes)
    }
}

/// What no table takes is found before the table is touched.
fn check(item: Item<'_>) -> Result<(), String> {
    let Item::Entry(Entry { key, value, line, .. }) = item else { return Ok(()) };
    let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
    if key.len() > MAX_KEY_BYTES {
        return Err(format!("{place}a key of {} bytes is too long: at most {MAX_KEY_BYTES}", key.len()));
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(format!(
            "{place}a value of {} bytes is too long: at most {MAX_VALUE_BYTES}",
            value.len()
        ));
    }
    Ok(())
}

/// Entries on their way into the table.
struct Load<'w> {
    writer: &'w mut Writer<[u8], [u8]>,
    /// Whether the table is still to be cleared.
    replace: bool,
    /// Whether the bequest of a dump is wanted: nobody else's is lost.
    inherits: bool,
    schema: Option<Translation>,
    batch: Batch,
    /// How many are in the table.
    entries: u64,
}

/// Entries that become one commit.
#[derive(Debug, Default)]
struct Batch {
    schema_version: Option<u32>,
    /// Where the keys and values lie in `bytes`, and when they expire.
    entries: Vec<(Range<usize>, Range<usize>, Option<u64>)>,
    bytes: Vec<u8>,
}

/// A batch that has so many entries, or so many bytes, gets no more.
const BATCH_ENTRIES: usize = 512;
const BATCH_BYTES: usize = 256 * 1024;

/// From the versions that a dump's entries have to those of the table, whose entries without one have another.
struct Translation {
    from: TableSchema,
    to_base: u32,
}

impl<'w> Load<'w> {
    fn new(writer: &'w mut Writer<[u8], [u8]>, replace: bool) -> Result<Self, ReadError> {
        let is_new = writer.info().entries == 0 && matches!(writer.bequest_bytes(), Ok(None));
        // Values without a schema count as of its version 0, where the table has one.
        let schema = writer.schema()?.map(|schema| Translation {
            from: TableSchema { name: String::new(), base_version: 0 },
            to_base: schema.base_version,
        });
        let inherits = is_new || replace;
        Ok(Self { writer, replace, inherits, schema, batch: Batch::default(), entries: 0 })
    }

    fn take(&mut self, item: Item<'_>) -> Result<(), Box<dyn Error>> {
        match item {
            Item::Head(head) => self.check(head)?,
            Item::Schema(schema) => {
                let to_base = self.writer.adopt_schema(schema)?.base_version;
                self.schema = Some(Translation { from: schema.clone(), to_base });
            }
            Item::Entry(entry) => self.insert(entry)?,
            Item::Bequest(bequest) if self.inherits => {
                self.commit()?;
                self.writer.bequeath(bequest)?;
            }
            Item::Bequest(_) => {}
        }
        Ok(())
    }

    /// Clears the table where that is wanted, when it is known that there is something to load.
    fn begin(&mut self) -> Result<(), Box<dyn Error>> {
        if std::mem::take(&mut self.replace) {
            self.writer.clear()?;
        }
        Ok(())
    }

    fn insert(&mut self, entry: Entry<'_>) -> Result<(), Box<dyn Error>> {
        let Entry { key, value, mut attributes, .. } = entry;
        if let Some(Translation { from, to_base }) = &self.schema {
            let version = from.version_of(attributes);
            attributes.schema_version = (version != *to_base).then_some(version);
        }
        if !self.batch.has_room_for(attributes) {
            self.commit()?;
        }
        self.batch.push(key, value, attributes);
        Ok(())
    }

    /// Commits what has come so far. Where not all of it fits, then one entry after the other, up to the first that does not.
    fn commit(&mut self) -> Result<(), Box<dyn Error>> {
        let batch = std::mem::take(&mut self.batch);
        if batch.entries.is_empty() {
            return Ok(());
        }
        self.begin()?;
        if self.writer.insert_together(batch.schema_version, batch.iter()).is_ok() {
            self.entries += batch.entries.len() as u64;
        } else {
            for entry in batch.iter() {
                self.writer.insert_together(batch.schema_version, [entry])?;
                self.entries += 1;
            }
        }
        self.batch = batch.cleared();
        Ok(())
    }

    fn check(&self, head: Head) -> Result<(), Box<dyn Error>> {
        let kind = self.writer.info().kind;
        if !head.fits(kind) {
            let (from, to) = (head.kind.name(), kind.name());
            return Err(format!("this is a dump of a {from}, whose entries a {to} would lose some of").into());
        }
        Ok(())
    }
}

impl Batch {
    fn has_room_for(&self, attributes: Attributes) -> bool {
        let is_full = self.entries.len() >= BATCH_ENTRIES || self.bytes.len() >= BATCH_BYTES;
        self.entries.is_empty() || !is_full && self.schema_version == attributes.schema_version
    }

    fn push(&mut self, key: &[u8], value: &[u8], attributes: Attributes) {
        let start = self.bytes.len();
        let middle = start + key.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.entries.push((start..middle, middle..self.bytes.len(), attributes.deadline_ms));
        self.schema_version = attributes.schema_version;
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8], Option<u64>)> {
        let bytes = |range: &Range<usize>| &self.bytes[range.clone()];
        self.entries.iter().map(move |(key, value, deadline_ms)| (bytes(key), bytes(value), *deadline_ms))
    }

    /// The same buffers, empty.
    fn cleared(mut self) -> Self {
        self.entries.clear();
        self.bytes.clear();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::connect::Bytes;
    use crate::cli::dump::dump;
    use heirloom_worker::Kind;
    use heirloom_worker::testing::{Table, table};
    use proptest::prelude::*;

    type Content = Vec<(Vec<u8>, Vec<u8>, Option<u64>)>;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof!["[a-c]{0,2}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..300)]
    }

    /// A moment that no test sees, or none.
    fn deadline() -> impl Strategy<Value = Option<u64>> {
        prop::option::of((1 << 50)..u64::MAX)
    }

    fn content(reader: &Bytes) -> Content {
        let mut content = Vec::new();
        reader
            .visit(&mut |key, value, attributes| {
                content.push((key.to_vec(), value.to_vec(), attributes.deadline_ms));
                true
            })
            .unwrap();
        content
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn every_kind_comes_back_from_every_format(
            written in prop::collection::vec((bytes(), bytes(), deadline()), 0..40),
        ) {
            for kind in [Table::set, Table::ordered_set, Table::bag, Table::duplicate_bag] {
                let (mut writer, reader) = table::<[u8], [u8]>(kind("from"));
                for (key, value, deadline_ms) in &written {
                    let attributes = Attributes { deadline_ms: *deadline_ms, ..Attributes::default() };
                    writer.insert_attributed(key, value, attributes).unwrap();
                }
                writer.bequeath(b"position 9".as_slice()).unwrap();
                for format in [Format::Csv, Format::JsonLines, Format::Dump] {
                    let (mut writer, copy) = table::<[u8], [u8]>(kind("to"));
                    let mut load = Load::new(&mut writer, false).unwrap();
                    let (dumped, file) = dump(&reader, Vec::new(), format).unwrap();
                    formats::read(file.as_slice(), format, "it", &mut |item| load.take(item)).unwrap();
                    load.commit().unwrap();
                    prop_assert_eq!((dumped.entries, load.entries), (reader.len(), copy.len()));
                    let (mut before, mut after) = (content(&reader), content(&copy));
                    // A set has no order, and in a bag the values of one key have none.
                    if !matches!(reader.info().kind, Kind::OrderedSet | Kind::DuplicateBag) {
                        before.sort();
                        after.sort();
                    }
                    prop_assert_eq!(before, after, "{:?} of {:?}", format, reader.info().kind);
                    let bequest = (format == Format::Dump).then(|| b"position 9".to_vec());
                    prop_assert_eq!(copy.bequest_bytes().unwrap(), bequest);
                    prop_assert_eq!(writer.verify().unwrap().entries, copy.len());
                }
            }
        }
    }
}
