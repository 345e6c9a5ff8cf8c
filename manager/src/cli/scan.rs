//! `heirloom scan TABLE`: entries as JSON lines.

use super::keys::KeyForm;
use super::{Outcome, connect};
use crate::formats::json_lines::{Bytes, write_line};
use serde::Serialize;
use std::io::{self, BufWriter, Write, stdout};
use std::ops::ControlFlow;
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

    /// Stop after so many entries
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    #[command(flatten)]
    form: KeyForm,
}

const EXAMPLES: &str = "\
Examples:
  heirloom scan words --limit 10
  heirloom scan words | jq -r .key";

#[derive(Serialize)]
struct Line<K, V> {
    key: K,
    value: V,
}

pub(super) fn run(args: &Args, socket: Option<PathBuf>) -> Outcome {
    let reader = connect::reader(socket, &args.table)?;
    let mut out = BufWriter::new(stdout().lock());
    let mut left = args.limit.unwrap_or(u64::MAX);
    let broken = reader.scan(|key, value| {
        if left == 0 {
            return ControlFlow::Break(Ok(()));
        }
        left -= 1;
        let line = Line { key: args.form.show(&key), value: Bytes(&value) };
        match write_line(&line, &mut out) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Err::<(), io::Error>(error)),
        }
    })?;
    broken.unwrap_or(Ok(()))?;
    Ok(out.flush()?)
}
