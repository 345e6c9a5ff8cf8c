//! Reads the document into the configuration, noting every mistake on the way instead of stopping at the first.

mod gift;
mod hydrate;
mod section;
mod suggest;
mod supervisor;
mod table;
mod units;
mod value;
mod worker;

use super::Config;
use super::mistake::{Mistakes, Report};
use section::Section;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;
use units::UnitError;
use value::Value;

/// Reads the text of the file at `path`, whose folder relative paths are resolved against.
pub(super) fn config(text: &str, path: &Path) -> Result<Config, Mistakes> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    let mut cx = Context::new(Report::new(path, text), &folder);

    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    for error in syntax_errors {
        cx.report.add_syntax(error.span().unwrap_or(0..0), error.message());
    }
    let mut root = Section::new("the file", document.span(), document.get_ref());
    let supervisor = root.get("supervisor").and_then(|value| single(value, "[supervisor]", &mut cx));
    let supervisor = supervisor.map(|section| supervisor::supervisor(section, &mut cx)).unwrap_or_default();
    let manager = root.get("manager").and_then(|value| single(value, "[manager]", &mut cx));
    let manager = manager.map(|section| supervisor::manager(section, &mut cx)).unwrap_or_default();
    let tables = several(root.get("table"), "[[table]]", &mut cx);
    let tables = tables.into_iter().filter_map(|section| table::table(section, &mut cx)).collect();
    let workers = several(root.get("worker"), "[[worker]]", &mut cx);
    let workers = workers.into_iter().filter_map(|section| worker::worker(section, &mut cx)).collect();
    root.finish(&mut cx);
    cx.check_names();

    cx.report.finish()?;
    Ok(Config { path: absolute, folder: folder.clone(), supervisor, manager, tables, workers })
}

/// Reads a duration such as `250ms`, as the configuration does.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(one_line)
}

/// Reads a size such as `64MiB`, as the configuration does.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    units::bytes(text).map_err(one_line)
}

fn one_line(UnitError { message, suggestion }: UnitError) -> String {
    match suggestion {
        Some(suggestion) => format!("{message}; {suggestion}"),
        None => message,
    }
}

/// A name in the file, and where it stands.
type Placed = (String, Range<usize>);

/// What the sections share while they are read.
struct Context<'t> {
    report: Report<'t>,
    folder: &'t Path,
    /// The ids of the tables.
    tables: Vec<Placed>,
    /// The names of the workers.
    workers: Vec<Placed>,
    /// The workers that tables are to be handed to.
    sought: Vec<Placed>,
}

impl<'t> Context<'t> {
    fn new(report: Report<'t>, folder: &'t Path) -> Self {
        Self { report, folder, tables: Vec::new(), workers: Vec::new(), sought: Vec::new() }
    }

    /// A relative path belongs to the folder of the file.
    fn resolve(&self, path: PathBuf) -> PathBuf {
        self.folder.join(path)
    }

    /// A program is looked up by PATH, unless it is written with a slash.
    fn resolve_program(&self, mut command: Vec<String>) -> Vec<String> {
        if let Some(program) = command.first_mut().filter(|program| program.contains('/')) {
            *program = self.folder.join(&*program).to_string_lossy().into_owned();
        }
        command
    }

    /// What only the whole file shows: names that stand twice, and names that nobody has.
    fn check_names(&mut self) {
        for (what, names) in [("table", &self.tables), ("worker", &self.workers)] {
            let mut first: HashMap<&str, usize> = HashMap::new();
            for (name, span) in names {
                let line = *first.entry(name).or_insert_with(|| self.report.line(span.start));
                if line != self.report.line(span.start) {
                    let message = format!("the {what} `{name}` is already declared in line {line}");
                    self.report.add(span.clone(), message);
                }
            }
        }
        for (name, span) in &self.sought {
            if !self.workers.iter().any(|(worker, _)| worker == name) {
                let near = suggest::nearest(name, self.workers.iter().map(|(worker, _)| worker.as_str()));
                let suggestion = near.map_or_else(
                    || "declare it, with `external = true` where something else starts it".to_owned(),
                    |near| format!("did you mean \"{near}\"?"),
                );
                let message = format!("no [[worker]] has the name `{name}`");
                self.report.add_absence(span.clone(), message, Some(suggestion));
            }
        }
    }
}

/// The section that may stand once.
fn single<'d, 'i>(value: Value<'d, 'i>, what: &'d str, cx: &mut Context<'_>) -> Option<Section<'d, 'i>> {
    let section = Section::of(what, value.value);
    if section.is_none() {
        value.wrong_type("a table", cx, Some(format!("write {what}")));
    }
    section
}

/// The sections that may stand several times, in double brackets.
fn several<'d, 'i>(
    value: Option<Value<'d, 'i>>,
    what: &'d str,
    cx: &mut Context<'_>,
) -> Vec<Section<'d, 'i>> {
    let Some(value) = value else { return Vec::new() };
    let sections: Option<Vec<_>> =
        value.get().as_array().and_then(|list| list.iter().map(|entry| Section::of(what, entry)).collect());
    sections.unwrap_or_else(|| {
        value.wrong_type("a list of tables", cx, Some(format!("write {what} above each")));
        Vec::new()
    })
}
