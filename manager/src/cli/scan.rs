//! `heirloom scan TABLE`: entries as JSON lines.

use super::keys::{KeyForm, Shown};
use super::output::Usage;
use super::values::ValueForm;
use super::{Outcome, connect};
use crate::formats::json_lines::write_line;
use heirloom_protocol::table::after_prefix;
use heirloom_worker::{Attributes, Order};
use serde::Serialize;
use std::ffi::OsString;
use std::io::{BufWriter, Write, stdout};
use std::ops::Bound;
use std::path::PathBuf;

/// Print the entries of a table, one JSON object a line
///
/// A line is {"key": .., "value": ..}. A string stands for its UTF-8 bytes, {"base64": ".."} for bytes that are no
/// readable text. A `set` has no order; the other kinds are printed in the order of their keys' bytes, and can be asked
/// for a part of them.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The table's id
    table: String,

    /// Begin at this key
    #[arg(long, value_name = "KEY", allow_negative_numbers = true)]
    from: Option<OsString>,

    /// Stop before this key
    #[arg(long, value_name = "KEY", allow_negative_numbers = true)]
    to: Option<OsString>,

    /// Only keys that begin with this
    #[arg(long, value_name = "KEY", conflicts_with_all = ["from", "to", "key_u64", "key_i64"])]
    prefix: Option<OsString>,

    /// The greatest key first
    #[arg(long)]
    reverse: bool,

    /// Stop after so many entries
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// All of it as of one version; otherwise each entry is as it is when it is read
    #[arg(long)]
    snapshot: bool,

    #[command(flatten)]
    form: KeyForm,

    #[command(flatten)]
    value_form: ValueForm,
}

const EXAMPLES: &str = "\
Examples:
  heirloom scan words --limit 10 --value-u64
  heirloom scan words --prefix in | jq -r .key
  heirloom scan sales --key-u64 --from 2000 --to 3000 --reverse";

#[derive(Serialize)]
struct Line<'l> {
    key: Shown<'l>,
    value: Shown<'l>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
}

pub(super) fn run(args: &Args, socket: Option<PathBuf>) -> Outcome {
    let (from, to) = bounds(args)?;
    let reader = connect::reader(socket, &args.table)?;
    let mut out = BufWriter::new(stdout().lock());
    let (mut left, mut written) = (args.limit.unwrap_or(u64::MAX), Ok(()));
    let mut each = |key: &[u8], value: &[u8], attributes: Attributes| {
        let (key, value) = (args.form.show(key), args.value_form.show(value));
        let line = Line { key, value, deadline_ms: attributes.deadline_ms };
        if left == 0 {
            return false;
        }
        left -= 1;
        written = write_line(&line, &mut out);
        written.is_ok() && left > 0
    };
    let order = if args.reverse { Order::Descending } else { Order::Ascending };
    let whole = from == Bound::Unbounded && to == Bound::Unbounded && !args.reverse;
    let (from, to) = (as_slice(&from), as_slice(&to));
    if !whole && !reader.info().kind.is_ordered() {
        return Err(format!("table `{}` is a set, which has no order: scan all of it", args.table).into());
    }
    let snapshot = args.snapshot.then(|| reader.snapshot()).transpose()?;
    match &snapshot {
        None if whole => reader.visit(&mut each)?,
        None => reader.visit_range(from, to, order, &mut each)?,
        Some(snapshot) if whole => snapshot.visit(&mut each)?,
        Some(snapshot) => snapshot.visit_range(from, to, order, &mut each)?,
    }
    written?;
    Ok(out.flush()?)
}

type End = Bound<Vec<u8>>;

/// Between which keys the entries are.
fn bounds(args: &Args) -> Result<(End, End), Usage> {
    let key = |typed: &Option<OsString>| typed.as_ref().map(|typed| args.form.parse(typed)).transpose();
    if let Some(prefix) = key(&args.prefix)? {
        let end = after_prefix(&prefix).map_or(Bound::Unbounded, Bound::Excluded);
        return Ok((Bound::Included(prefix), end));
    }
    let from = key(&args.from)?.map_or(Bound::Unbounded, Bound::Included);
    Ok((from, key(&args.to)?.map_or(Bound::Unbounded, Bound::Excluded)))
}

fn as_slice(end: &End) -> Bound<&[u8]> {
    end.as_ref().map(Vec::as_slice)
}
