//! What is wrong in a configuration file, and where.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One mistake in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mistake {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 where the mistake is not in a line (a file that cannot be read).
    pub line: usize,
    /// The column in characters, from 1; 0 like the line.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that can be told.
    pub suggestion: Option<String>,
}

/// `file:line:column: message (suggestion)`: editors and terminals make a link of it.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, " ({suggestion})")?;
        }
        Ok(())
    }
}

/// All the mistakes of a configuration file, in the order of its lines; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// The one mistake of a file that cannot be read at all.
    pub(super) fn unreadable(file: &Path, message: &str) -> Self {
        let (file, message) = (file.to_owned(), message.to_owned());
        Self(vec![Mistake { file, line: 0, column: 0, message, suggestion: None }])
    }
}

impl std::ops::Deref for Mistakes {
    type Target = [Mistake];

    fn deref(&self) -> &[Mistake] {
        &self.0
    }
}

/// One mistake a line.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// Collects the mistakes while a file is read, and turns byte offsets into lines and columns.
#[derive(Debug)]
pub(super) struct Report<'t> {
    file: &'t Path,
    text: &'t str,
    mistakes: Vec<Mistake>,
    /// Lines that are not TOML. What is found wrong or missing because of them is not told a second time.
    broken_lines: Vec<usize>,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: &'t Path, text: &'t str) -> Self {
        Self { file, text, mistakes: Vec::new(), broken_lines: Vec::new() }
    }

    /// Notes a mistake in the text at `span`, in bytes.
    pub(super) fn add(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.add_with(span, message, None);
    }

    /// Notes a mistake and what to write instead.
    pub(super) fn add_with(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        let (line, column) = self.position(span.start);
        if !self.broken_lines.contains(&line) {
            let (file, message) = (self.file.to_owned(), message.into());
            self.mistakes.push(Mistake { file, line, column, message, suggestion });
        }
    }

    /// Notes that something is not there at all; unless the file is broken, and it may stand in such a line.
    pub(super) fn add_absence(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        if self.broken_lines.is_empty() {
            self.add_with(span, message, suggestion);
        }
    }

    /// Notes that the text at `span` is not TOML.
    pub(super) fn add_syntax(&mut self, span: Range<usize>, message: &str) {
        let (line, _) = self.position(span.start);
        self.add(span, message);
        self.broken_lines.push(line);
    }

    /// The line of a byte offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.position(offset).0
    }

    /// All mistakes in the order of the lines, or that there are none.
    pub(super) fn finish(mut self) -> Result<(), Mistakes> {
        if self.mistakes.is_empty() {
            return Ok(());
        }
        self.mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
        Err(Mistakes(self.mistakes))
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let report = Report::new(Path::new("f.toml"), "ä = 1\nbb = 2\n");
        assert_eq!(report.position(0), (1, 1));
        assert_eq!(report.position("ä = ".len()), (1, 5));
        assert_eq!(report.position("ä = 1\n".len()), (2, 1));
        assert_eq!(report.position(10_000), (3, 1), "beyond the end is the end");
    }

    #[test]
    fn mistakes_come_in_the_order_of_the_lines_and_read_like_a_compiler_s() {
        let mut report = Report::new(Path::new("f.toml"), "a = 1\nb = 2\n");
        report.add_with(6..7, "no such key `b`", Some("did you mean `a`?".into()));
        report.add(0..1, "no such key `a`");
        let mistakes = report.finish().expect_err("two mistakes");
        assert_eq!(
            mistakes.to_string(),
            "f.toml:1:1: no such key `a`\nf.toml:2:1: no such key `b` (did you mean `a`?)"
        );
    }

    #[test]
    fn a_broken_line_is_told_once_and_nothing_is_missed_because_of_it() {
        let mut report = Report::new(Path::new("f.toml"), "a = \nb = 2\n");
        report.add_syntax(4..4, "expected a value");
        report.add(0..1, "`a` must be text");
        report.add_absence(0..0, "`id` is missing", None);
        report.add(6..7, "no such key `b`");
        let mistakes = report.finish().expect_err("two mistakes");
        assert_eq!(mistakes.iter().map(|m| m.line).collect::<Vec<_>>(), [1, 2]);
    }
}
