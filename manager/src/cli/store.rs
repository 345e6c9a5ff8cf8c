//! `heirloom store ...`: what durable tables have on disk, while no manager has them.

use super::dump::{format_of, write_file};
use super::output::{Usage, complain};
use super::{Outcome, print};
use crate::formats::Format;
use crate::store::{self, Store, StoreError};
use clap::Subcommand;
use serde_json::{Value, json};
use std::error::Error;
use std::fs;
use std::io::{BufWriter, Write, stdout};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Look after the stores of durable tables, on disk
///
/// A store is in use while its manager runs: these commands refuse it then, and say so. Stop the manager first, or use
/// `heirloom dump` and `heirloom verify`, which ask it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, subcommand_required = true)]
pub(super) struct Args {
    /// The folder of the stores: `store` in [manager]
    #[arg(long, global = true, value_name = "FOLDER", default_value_os_t = store::default_folder())]
    folder: PathBuf,

    /// Print what was done as one JSON object
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  heirloom store list --folder /var/lib/shop
  heirloom store verify sales
  heirloom store export sales sales.csv";

#[derive(Debug, Subcommand)]
enum Action {
    /// Print each store: its table, how many entries, as of which version, how large
    List,
    /// Check every byte of a store
    Verify {
        /// The table's id
        table: String,
    },
    /// Make the file of a store as small as it can be
    Compact {
        /// The table's id
        table: String,
    },
    /// Write what is in a store to a file, as `heirloom dump` does of a table
    Export {
        /// The table's id
        table: String,

        /// Where to; `-` for standard output
        file: PathBuf,

        /// What to write; by default what the file's name says (.csv, .jsonl, .dump), and jsonl to standard output
        #[arg(long)]
        format: Option<Format>,
    },
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.action {
        Action::List => list(&args.folder, args.json),
        Action::Verify { table } => verify(open(&args.folder, table)?, args.json),
        Action::Compact { table } => compact(open(&args.folder, table)?, args.json),
        Action::Export { table, file, format } => export(&args.folder, table, file, *format, args.json),
    }
}

/// A store, and where it is.
struct Found {
    path: PathBuf,
    store: Store,
}

fn open(folder: &Path, table: &str) -> Result<Found, StoreError> {
    let path = store::path(folder, table);
    Ok(Found { store: Store::inspect(&path)?, path })
}

fn list(folder: &Path, as_json: bool) -> Outcome {
    let unreadable = |error| format!("{}: cannot be read: {error}", folder.display());
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(unreadable)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, std::io::Error>>()
        .map_err(unreadable)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "redb"));
    paths.sort();
    let stores: Vec<_> = paths.iter().map(|path| (path, describe(path))).collect();
    if as_json {
        let stores = stores.into_iter().map(|(path, described)| {
            let mut described = described.unwrap_or_else(|error| json!({ "error": error.to_string() }));
            described["file"] = json!(path);
            described
        });
        return Ok(print(&json!({ "folder": folder, "stores": stores.collect::<Value>() }).to_string())?);
    }
    for (_, described) in stores {
        print(&described.map_or_else(|error| error.to_string(), |store| line(&store)))?;
    }
    Ok(())
}

fn describe(path: &Path) -> Result<Value, StoreError> {
    let store = Store::inspect(path)?;
    let at = store.at();
    Ok(json!({
        "table": store.of().table,
        "kind": store.of().kind.name(),
        "entries": store.entries(),
        "incarnation": at.map(|at| at.incarnation),
        "version": at.map(|at| at.version),
        "bequest_bytes": store.bequest().map(<[u8]>::len),
        "schema": store.schema().map(|schema| schema.name.clone()),
        "file_bytes": store.file_bytes()?,
    }))
}

fn line(store: &Value) -> String {
    let text = |key: &str| store[key].as_str().unwrap_or_default().to_owned();
    let version =
        store["version"].as_u64().map_or("no checkpoint yet".to_owned(), |at| format!("version {at}"));
    let (table, kind, entries, bytes) =
        (text("table"), text("kind"), &store["entries"], &store["file_bytes"]);
    format!("{table}: {kind}, {entries} entries, {version}, {bytes} bytes")
}

fn verify(mut found: Found, as_json: bool) -> Outcome {
    let start = Instant::now();
    found.store.verify()?;
    let elapsed_ms = start.elapsed().as_millis() as u64;
    let (table, entries) = (&found.store.of().table, found.store.entries());
    let version = found.store.at().map(|at| at.version);
    print(&match as_json {
        true => json!({ "table": table, "entries": entries, "version": version, "elapsed_ms": elapsed_ms })
            .to_string(),
        false => format!("{} is whole: {entries} entries, in {elapsed_ms} ms", found.path.display()),
    })?;
    Ok(())
}

fn compact(mut found: Found, as_json: bool) -> Outcome {
    let before = found.store.file_bytes()?;
    found.store.compact()?;
    let after = found.store.file_bytes()?;
    print(&match as_json {
        true => {
            json!({ "table": found.store.of().table, "bytes_before": before, "bytes": after }).to_string()
        }
        false => format!("{}: {before} bytes before, {after} now", found.path.display()),
    })?;
    Ok(())
}

fn export(folder: &Path, table: &str, file: &Path, format: Option<Format>, as_json: bool) -> Outcome {
    let to_stdout = file.as_os_str() == "-";
    if to_stdout && as_json {
        return Err(Usage("--json and FILE `-` both want standard output".to_owned()).into());
    }
    let format = format_of(format, file)?;
    let store = open(folder, table)?.store;
    let write = |out: &mut dyn Write| -> Result<(), Box<dyn Error>> {
        store.export(BufWriter::new(out), format)?.into_inner().map_err(|error| error.into_error())?;
        Ok(())
    };
    if to_stdout {
        return write(&mut stdout().lock());
    }
    write_file(file, write)?;
    let (entries, version) = (store.entries(), store.at().map(|at| at.version));
    if as_json {
        let object = json!({ "table": table, "entries": entries, "version": version, "file": file });
        print(&object.to_string())?;
    } else {
        complain(&format!("{}: {entries} entries", file.display()));
    }
    Ok(())
}
