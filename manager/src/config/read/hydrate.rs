//! `hydrate`: what a table is filled from.

use super::Context;
use super::section::Section;
use super::value::{self, Value};
use crate::config::{Hydrate, HydrateFormat, HydrateSource, HydrateWhen};
use crate::formats::Format;
use std::path::Path;

const WHENS: [(&str, HydrateWhen); 2] = [("always", HydrateWhen::Always), ("if_empty", HydrateWhen::IfEmpty)];

const FORMATS: [(&str, Source); 4] = [
    ("redb", Source::Redb),
    ("csv", Source::Stream(Format::Csv)),
    ("jsonl", Source::Stream(Format::JsonLines)),
    ("dump", Source::Stream(Format::Dump)),
];

#[derive(Clone, Copy, PartialEq)]
enum Source {
    Redb,
    /// What can come from a file or a command.
    Stream(Format),
}

/// `id` is that of the table, where it is known: the redb table of that name is the default.
pub(super) fn hydrate(
    value: Value<'_, '_>,
    id: Option<&str>,
    default_when: HydrateWhen,
    cx: &mut Context<'_>,
) -> Option<Hydrate> {
    let Some(mut section) = Section::of("`hydrate`", value.value) else {
        let meant = value.get().as_str().map(|file| format!("did you mean {{ file = {file:?} }}?"));
        value.wrong_type("a table", cx, meant);
        return None;
    };
    let when = section.optional("when", cx, |value, cx| value::one_of(value, &WHENS, cx));
    let file = section.get("file");
    let command = section.get("command");
    // `Err` where it is said, but wrong: then nothing more is concluded from it.
    let format = section.get("format").map(|value| value::one_of(value, &FORMATS, cx).ok_or(())).transpose();
    let source = match (file, command) {
        (Some(file), None) => from_file(file, format, id, &mut section, cx),
        (None, Some(command)) => from_command(command, format, &mut section, cx),
        (Some(_), Some(_)) => {
            cx.report.add(value.span(), "`hydrate` takes either a `file` or a `command`");
            None
        }
        (None, None) => {
            section.required("file", "\"sales.redb\"", cx, |_, _| None::<()>);
            None
        }
    };
    section.finish(cx);
    Some(Hydrate { source: source?, when: when.unwrap_or(default_when) })
}

fn from_file(
    file: Value<'_, '_>,
    format: Result<Option<Source>, ()>,
    id: Option<&str>,
    section: &mut Section<'_, '_>,
    cx: &mut Context<'_>,
) -> Option<HydrateSource> {
    let path = value::path(file, cx);
    let known = format.unwrap_or(None).or_else(|| path.as_deref().and_then(by_extension));
    if let (Some(path), None, Ok(_)) = (&path, known, format) {
        let message = format!("what is in `{}` cannot be told from its name", path.display());
        let suggestion = "name it .redb, .csv, .jsonl or .dump, or add `format`".to_owned();
        cx.report.add_with(file.span(), message, Some(suggestion));
    }
    let format = details(known, id.unwrap_or_default(), section, cx);
    Some(HydrateSource::File { path: cx.resolve(path?), format: format? })
}

fn from_command(
    command: Value<'_, '_>,
    format: Result<Option<Source>, ()>,
    section: &mut Section<'_, '_>,
    cx: &mut Context<'_>,
) -> Option<HydrateSource> {
    let place = command.span();
    let command = value::command(command, cx);
    let format = format.ok()?.unwrap_or(Source::Stream(Format::Csv));
    if format == Source::Redb {
        let suggestion = "let it print \"csv\", \"jsonl\" or \"dump\"".to_owned();
        cx.report.add_with(place, "a command cannot print a redb file", Some(suggestion));
        return None;
    }
    let format = details(Some(format), "", section, cx);
    Some(HydrateSource::Command { command: cx.resolve_program(command?), format: format? })
}

fn by_extension(path: &Path) -> Option<Source> {
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("redb") => Some(Source::Redb),
        _ => Format::by_extension(path).map(Source::Stream),
    }
}

/// The keys that say where in the source the entries are; those of another format are mistakes.
fn details(
    format: Option<Source>,
    id: &str,
    section: &mut Section<'_, '_>,
    cx: &mut Context<'_>,
) -> Option<HydrateFormat> {
    let table = section.get("table");
    let key = section.get("key");
    let column = section.get("value");
    let format = format?;
    let (misplaced, home) = match format {
        Source::Redb => ([key, column, None], "csv and jsonl"),
        Source::Stream(Format::Csv | Format::JsonLines) => ([table, None, None], "redb"),
        Source::Stream(Format::Dump) => ([key, column, table], "other"),
    };
    for value in misplaced.into_iter().flatten() {
        cx.report.add(value.span(), format!("`{}` is for {home} sources", value.key));
    }
    let mut read = |value: Option<Value<'_, '_>>| value.and_then(|value| value::string(value, cx));
    Some(match format {
        Source::Redb => HydrateFormat::Redb { table: read(table).unwrap_or_else(|| id.to_owned()) },
        Source::Stream(Format::Csv) => HydrateFormat::Csv { key: read(key), value: read(column) },
        Source::Stream(Format::JsonLines) => HydrateFormat::JsonLines {
            key: read(key).unwrap_or_else(|| "key".to_owned()),
            value: read(column).unwrap_or_else(|| "value".to_owned()),
        },
        Source::Stream(Format::Dump) => HydrateFormat::Dump,
    })
}
