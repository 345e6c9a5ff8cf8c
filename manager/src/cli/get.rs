//! `heirloom get TABLE KEY`: one value.

use super::keys::{KeyForm, Shown};
use super::values::ValueForm;
use super::{Outcome, connect};
use crate::formats::json_lines::{Bytes, write_line};
use serde_json::json;
use std::ffi::OsString;
use std::io::{Write, stdout};
use std::path::PathBuf;

/// Print the value of a key
///
/// Text is printed as it is, other bytes as {"base64": ".."}; of a bag, each value of the key. Without such a key the
/// exit status is 1.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The table's id
    table: String,

    /// The key; `--` before it where it begins with a dash
    #[arg(allow_negative_numbers = true)]
    key: OsString,

    #[command(flatten)]
    form: KeyForm,

    #[command(flatten)]
    value_form: ValueForm,

    /// Print one JSON object, {"key": .., "value": ..}
    #[arg(long)]
    json: bool,

    /// Print the bytes of the value and nothing else, not even a line break
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

const EXAMPLES: &str = "\
Examples:
  heirloom get words fox --value-u64
  heirloom get sales --key-u64 4711 --json
  heirloom get images logo --raw > logo.png";

pub(super) fn run(args: &Args, socket: Option<PathBuf>) -> Outcome {
    let key = args.form.parse(&args.key)?;
    let reader = connect::reader(socket, &args.table)?;
    let mut values = Vec::new();
    reader.visit_values(&key, &mut |value| {
        values.push(value.to_vec());
        true
    })?;
    if values.is_empty() {
        return Err(format!("table `{}` has no key {}", args.table, args.key.display()).into());
    }
    let mut out = stdout().lock();
    for value in &values {
        let (shown, bytes) = (args.value_form.show(value), Bytes(value));
        let text = if matches!(shown, Shown::Bytes(_)) { bytes.as_text() } else { None };
        match text {
            _ if args.raw => out.write_all(value)?,
            _ if args.json => write_line(&json!({ "key": args.form.show(&key), "value": shown }), &mut out)?,
            Some(text) => writeln!(out, "{text}")?,
            None => write_line(&shown, &mut out)?,
        }
    }
    Ok(out.flush()?)
}
