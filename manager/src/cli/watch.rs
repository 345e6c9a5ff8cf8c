//! `heirloom watch TABLE`: changes as they commit.

use super::Outcome;
use super::connect::{self, Bytes as Table};
use super::keys::{KeyForm, Shown};
use super::output::{complain, is_read};
use super::values::ValueForm;
use crate::formats::json_lines::write_line;
use heirloom_worker::{Watch, Watched};
use serde::Serialize;
use serde_json::json;
use std::error::Error;
use std::io::{self, BufWriter, StdoutLock, Write, stdout};
use std::path::PathBuf;
use std::time::Duration;

/// Print the changes of a table as they commit, one JSON object a line
///
/// A line is {"version": .., "key": .., "value": ..}, with null for a key that was removed. Lines of one version belong
/// together: they are the newest value of each key that changed up to that commit, never half a transaction. Values
/// between two looks, some milliseconds apart, are not told. In a bag, a key that got or lost a value comes first with
/// null, and then once with each value that it has.
///
/// {"cleared": true} says that all keys are gone. It also comes where more has changed than the table keeps notes of:
/// then, and with --all at the start, all entries follow, without a version, and at their end {"version": ..} says of
/// which one they were.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The table's id
    table: String,

    /// Print the entries that are there first
    #[arg(long)]
    all: bool,

    /// Stop after so many lines (the entries of --all do not count)
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    #[command(flatten)]
    form: KeyForm,

    #[command(flatten)]
    value_form: ValueForm,
}

const EXAMPLES: &str = "\
Examples:
  heirloom watch words --value-u64
  heirloom watch sales --all --key-u64 | jq -c 'select(.value != null)'";

/// How often an idle watch looks whether anybody still reads what it prints.
const LOOK_AT_READER: Duration = Duration::from_millis(500);

pub(super) fn run(args: &Args, socket: Option<PathBuf>) -> Outcome {
    let reader = connect::reader(socket, &args.table)?;
    Watching::begin(args, &reader)?.run()
}

struct Watching<'a> {
    watch: Watch<[u8], [u8]>,
    out: BufWriter<StdoutLock<'static>>,
    /// Changes that are still to be printed.
    left: u64,
    args: &'a Args,
}

#[derive(Serialize)]
struct Line<'l> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    key: Shown<'l>,
    value: Option<Shown<'l>>,
}

impl Args {
    fn line<'l>(&self, version: Option<u64>, key: &'l [u8], value: Option<&'l [u8]>) -> Line<'l> {
        let value = value.map(|value| self.value_form.show(value));
        Line { version, key: self.form.show(key), value }
    }
}

impl<'a> Watching<'a> {
    fn begin(args: &'a Args, reader: &Table) -> Result<Self, Box<dyn Error>> {
        let (watch, left) = (reader.watch()?, args.limit.unwrap_or(u64::MAX));
        Ok(Self { watch, out: BufWriter::new(stdout().lock()), left, args })
    }

    fn run(&mut self) -> Outcome {
        if self.args.all {
            self.print_all()?;
        }
        while self.left > 0 && is_read(io::stdout()) {
            match self.watch.next_within(LOOK_AT_READER)? {
                None => {}
                Some(Watched::Changes(changes)) => {
                    let version = Some(changes.version());
                    if changes.is_cleared() {
                        write_line(&json!({ "version": version, "cleared": true }), &mut self.out)?;
                    }
                    for (key, value) in changes.bytes().take(usize::try_from(self.left).unwrap_or(usize::MAX))
                    {
                        let line = self.args.line(version, key, value);
                        write_line(&line, &mut self.out)?;
                        self.left -= 1;
                    }
                }
                Some(_) => {
                    complain("heirloom: more has changed than the table keeps notes of; all of it follows");
                    write_line(&json!({ "cleared": true }), &mut self.out)?;
                    self.print_all()?;
                }
            }
            self.out.flush()?;
        }
        Ok(())
    }

    /// Prints the whole table as of one version; the watch goes on from there.
    fn print_all(&mut self) -> Outcome {
        let Self { watch, args, out, .. } = self;
        let mut written = Ok(());
        let version = watch.start_over(|key, value| {
            if written.is_ok() {
                written = write_line(&args.line(None, &key, Some(&value)), out);
            }
        })?;
        written?;
        write_line(&json!({ "version": version }), out)?;
        Ok(out.flush()?)
    }
}
